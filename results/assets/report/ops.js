// The packed operations, opened: see results/src/timeline.rs for what is in them.

const ENDS = ["ok", "fail", "info"];

/** Bytes of base64. */
function bytesOf(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const plain = atob(text), bytes = new Uint8Array(plain.length);
  for (let i = 0; i < plain.length; i++) bytes[i] = plain.charCodeAt(i);
  return bytes;
}

async function unpack(text) {
  const inflater = new DecompressionStream("deflate"), writer = inflater.writable.getWriter(), reader = inflater.readable.getReader();
  const written = writer.write(bytesOf(text)).then(() => writer.close());
  const chunks = [];
  let length = 0;
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    chunks.push(next.value);
    length += next.value.length;
  }
  await written;
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) { bytes.set(chunk, at); at += chunk.length; }
  return new Ops(bytes);
}

/** All operations, in order of their calls, as columns. Times are microseconds. */
class Ops {
  constructor(bytes) {
    const length = new DataView(bytes.buffer).getUint32(0, true);
    this.head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
    this.bytes = bytes;
    const n = this.count = this.head.ops;
    let at = 4 + length;
    const number = () => {
      let byte = bytes[at++];
      if (byte < 0x80) return byte;
      let value = byte & 0x7f, unit = 128;
      do { byte = bytes[at++]; value += (byte & 0x7f) * unit; unit *= 128; } while (byte >= 0x80);
      return value;
    };
    const column = (array, each) => { for (let i = 0; i < n; i++) array[i] = each(number(), i); return array; };
    let sum = 0;
    this.start = column(new Float64Array(n), delta => sum += delta);
    this.open = new Uint8Array(n); // 1: it never returned
    this.took = column(new Float64Array(n), (took, i) => took ? took - 1 : (this.open[i] = 1, 0));
    this.process = column(new Uint32Array(n), x => x);
    this.fn = new Uint16Array(n);
    this.end = column(new Uint8Array(n), (x, i) => { this.fn[i] = x / 3; return x % 3; });
    this.key = column(new Uint32Array(n), x => x);
    this.sent = column(new Uint32Array(n), x => x);
    this.error = column(new Uint32Array(n), x => x);
    sum = 0;
    this.index = column(new Float64Array(n), x => sum += x % 2 ? -(x + 1) / 2 : x / 2);
    this.textAt = at;
    this.lines = null;
    const workers = this.head.workers;
    this.workerOf = this.head.processes.map(process => process % workers);
  }

  /** Line i of the texts: inputs first, then outputs. */
  text(i) {
    if (!this.lines) {
      const { bytes, count } = this, lines = this.lines = new Uint32Array(2 * count + 1);
      let at = lines[0] = this.textAt;
      for (let line = 1; line <= 2 * count; line++) { at = bytes.indexOf(10, at) + 1; lines[line] = at; }
    }
    return new TextDecoder().decode(this.bytes.subarray(this.lines[i], this.lines[i + 1] - 1));
  }

  input(row) { return this.text(row); }
  output(row) { return this.text(this.count + row); }
  processName(row) { return "process " + this.head.processes[this.process[row]]; }
  keyName(row) { return this.head.keys[this.key[row]]; }
  fnName(row) { return this.head.functions[this.fn[row]]; }
  errorText(row) {
    const place = this.error[row];
    return place ? this.head.errors[place - 1] ?? "" : "";
  }

  /** The row of an invocation's index; -1 if there is none. */
  rowOf(index) {
    // Indices grow with time but for calls of the same instant: it is here, or hereabouts.
    let low = 0, high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.index[middle] < index) low = middle + 1; else high = middle;
    }
    for (let row = Math.max(low - 64, 0); row < Math.min(low + 64, this.count); row++) if (this.index[row] === index) return row;
    return this.index.indexOf(index);
  }

  /** As short as can be: `write 93`, `read → 88`. */
  label(row) {
    const input = this.input(row), output = this.output(row), name = this.fnName(row);
    const given = input ? `${name} ${input}` : name;
    return output && output !== input && this.end[row] === 0 ? `${given} → ${output}` : given;
  }

  /** Everything about one, as pairs. */
  facts(row) {
    const [node, shard, epoch] = this.head.sent[this.sent[row]];
    const end = this.end[row], error = this.errorText(row);
    const word = ["ok", "failed: it did not happen", "nobody can say whether it happened"][end];
    const facts = [["operation", `#${this.index[row]} by ${this.processName(row)}`], ["call", this.fnName(row)]];
    if (this.keyName(row)) facts.push(["key", this.keyName(row)]);
    if (this.input(row)) facts.push(["given", this.input(row)]);
    if (this.output(row)) facts.push(["returned", this.output(row)]);
    facts.push(["outcome", error ? `${word} (${error})` : word]);
    if (node !== null || shard !== null) {
      const where = [node ?? "", shard === null ? "" : `shard ${shard}`, epoch === null ? "" : `epoch ${epoch}`];
      facts.push(["sent to", where.filter(part => part).join(", ")]);
    }
    const from = this.start[row];
    facts.push(["called", `${ms(from)} ms`]);
    facts.push(["returned at", this.open[row] ? "never" : `${ms(from + this.took[row])} ms, after ${ms(this.took[row])} ms`]);
    return facts;
  }
}

/** Microseconds as milliseconds with all digits: `12,304.512`. */
function ms(us) {
  const [whole, rest] = (us / 1000).toFixed(3).split(".");
  return whole.replace(/\B(?=(\d{3})+$)/g, ",") + "." + rest;
}

function counted(n) { return String(n).replace(/\B(?=(\d{3})+$)/g, ","); }

/** A span in the unit that suits it. */
function span(us) {
  if (us < 1000) return `${+us.toPrecision(3)} µs`;
  if (us < 1e6) return `${+(us / 1e3).toPrecision(3)} ms`;
  return `${+(us / 1e6).toPrecision(3)} s`;
}
