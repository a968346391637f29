// The timeline under hands: wheel, drag, pinch, keys, filters, and the addresses that lead into it.

const ROWS_TOLD = 200;

class Timeline {
  constructor(root, ops) {
    this.root = root;
    this.ops = ops;
    this.part = name => root.querySelector(`[data-part="${name}"]`);
    this.painter = new Painter(this.part("view"), this.part("map"), ops);
    this.min = -ops.head.end * .01;
    this.max = ops.head.end * 1.01;
    this.from = this.min;
    this.to = this.max;
    this.chosen = new Set();
    this.held = -1;
    this.line = null;
    this.proof = null;
    this.filter = { lanes: "process", key: "", process: "", ends: [true, true, true] };
    const list = this.part("keys");
    list.replaceChildren(...ops.head.keys.slice(0, 500).map(key => element("option", { value: key })));
    this.relane();
    this.controls();
    this.pointers();
    this.keys();
    new ResizeObserver(() => { this.painter.resize(); this.redraw(); }).observe(root);
  }

  /** Sorts the operations into lanes again, after a filter has changed. */
  relane() {
    const { ops, filter, painter } = this, { head } = ops;
    const key = filter.key === "" ? -1 : head.keys.indexOf(filter.key);
    const process = filter.process === "" ? -1 : head.processes.indexOf(Number(filter.process));
    const impossible = (filter.key !== "" && key < 0) || (filter.process !== "" && process < 0);
    const keep = row => !impossible && filter.ends[ops.end[row]] && (key < 0 || ops.key[row] === key)
      && (process < 0 || ops.process[row] === process);
    const group = {
      process: [row => ops.workerOf[ops.process[row]], head.workers],
      key: [row => ops.key[row], head.keys.length],
      shard: [row => ops.sent[row], head.sent.length],
    }[filter.lanes];
    const plain = filter.key === "" && filter.process === "" && filter.ends.every(end => end);
    const wanted = plain ? painter.whole : new Lanes(ops, 1, row => keep(row) ? 0 : -1);
    // Lanes without any operation take no room.
    const used = new Uint8Array(group[1]), place = new Int32Array(group[1]).fill(-1), lanes = [];
    for (let i = 0; i < wanted.total; i++) used[group[0](wanted.rows[i])] = 1;
    const order = [...used.keys()].filter(lane => used[lane]);
    if (filter.lanes === "shard") order.sort((a, b) => compareSent(head.sent[a], head.sent[b]));
    if (filter.lanes === "key" && order.length < 20000) order.sort((a, b) => head.keys[a].localeCompare(head.keys[b], "en", { numeric: true }));
    order.forEach(lane => { place[lane] = lanes.length; lanes.push(lane); });
    const sorted = new Lanes(ops, lanes.length, row => keep(row) ? place[group[0](row)] : -1);
    if (filter.lanes !== "process") sorted.stack(6);
    const narrow = () => painter.gutter < 60;
    painter.take(sorted, wanted, {
      process: (lane, first, last) => {
        const [one, other] = [head.processes[ops.process[first]], head.processes[ops.process[last]]];
        return one === other ? (narrow() ? `p${one}` : `process ${one}`) : `p${one} – p${other}`;
      },
      key: lane => head.keys[lanes[lane]] || "no key",
      shard: lane => {
        const [node, shard, epoch] = head.sent[lanes[lane]];
        return node === null && shard === null ? "nowhere" : `${node ?? "shard " + shard}${epoch === null ? "" : " e" + epoch}`;
      },
    }[filter.lanes]);
    this.redraw();
  }

  redraw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.paint(); });
  }

  paint() {
    this.painter.draw(this.from, this.to, this.chosen, this.held, this.line);
    clearTimeout(this.telling);
    this.telling = setTimeout(() => this.tell(), 150);
  }

  /** Says in words what is in view, for those who do not see it. */
  tell() {
    const { wanted } = this.painter, from = wanted.place(0, this.from), to = wanted.place(0, this.to);
    const failed = wanted.failed[to] - wanted.failed[from], unknown = wanted.unknown[to] - wanted.unknown[from];
    const all = to - from, seconds = us => (us / 1e6).toFixed(this.to - this.from < 1e6 ? 4 : 2);
    this.part("status").textContent =
      `${seconds(Math.max(this.from, 0))} s to ${seconds(Math.min(this.to, this.ops.head.end))} s, ` +
      `${counted(all)} operations: ${counted(all - failed - unknown)} ok, ${counted(failed)} fail, ${counted(unknown)} info`;
    document.body.dataset.view = `${Math.round(this.from)},${Math.round(this.to)}`;
    document.body.dataset.inView = all;
    document.body.dataset.chosen = [...this.chosen].map(row => this.ops.index[row]).join(",");
    if (this.part("table").open) this.fillTable(from, to);
  }

  fillTable(from, to) {
    const { ops, painter: { wanted } } = this, body = this.part("rows");
    const rows = [];
    for (let i = from; i < Math.min(to, from + ROWS_TOLD); i++) {
      const row = wanted.rows[i], button = element("button", { type: "button", className: "link", textContent: `#${ops.index[row]}` });
      button.addEventListener("click", () => this.showRow(row));
      const cells = [ms(ops.start[row]), ops.open[row] ? "never" : ms(ops.took[row]), ops.processName(row), ops.keyName(row),
        ops.label(row), ENDS[ops.end[row]] + (ops.errorText(row) ? `: ${ops.errorText(row)}` : "")];
      const line = element("tr");
      const first = element("td");
      first.append(button);
      line.append(first, ...cells.map((textContent, i) => element("td", { textContent, className: i < 2 ? "num" : "" })));
      rows.push(line);
    }
    body.replaceChildren(...rows);
    this.part("rest").textContent = to - from > ROWS_TOLD ? `The first ${ROWS_TOLD} of ${counted(to - from)}; zoom in for the others.` : "";
  }

  /** Stands at a window, at once or in a short flight. */
  go(from, to, flight = false) {
    const least = 20;
    if (to - from < least) [from, to] = [(from + to - least) / 2, (from + to + least) / 2];
    const wide = Math.min(to - from, this.max - this.min);
    from = Math.min(Math.max(from, this.min), this.max - wide);
    to = from + wide;
    cancelAnimationFrame(this.flying);
    if (!flight || matchMedia("(prefers-reduced-motion: reduce)").matches) {
      [this.from, this.to] = [from, to];
      return this.redraw();
    }
    const [oldFrom, oldTo, begun] = [this.from, this.to, performance.now()];
    const step = now => {
      const t = Math.min(Math.max((now - begun) / 350, 0), 1), eased = t * t * (3 - 2 * t);
      // The width changes by factors, not by differences: else the end of the flight is a leap.
      const width = Math.exp(Math.log(oldTo - oldFrom) * (1 - eased) + Math.log(wide) * eased);
      const share = oldTo - oldFrom === wide ? eased : (oldTo - oldFrom - width) / (oldTo - oldFrom - wide);
      this.from = oldFrom + (from - oldFrom) * share;
      this.to = this.from + width;
      if (t === 1) [this.from, this.to] = [from, to];
      this.redraw();
      if (t < 1) this.flying = requestAnimationFrame(step);
    };
    this.flying = requestAnimationFrame(step);
  }

  zoom(factor, around = (this.from + this.to) / 2) {
    this.go(around - (around - this.from) * factor, around + (this.to - around) * factor);
    this.moved();
  }

  pan(us) { this.go(this.from + us, this.to + us); this.moved(); }

  /** Writes the window into the address, so that it can be passed on. */
  moved() {
    clearTimeout(this.noting);
    this.noting = setTimeout(() => {
      const seconds = us => +(us / 1e6).toFixed(6);
      try { history.replaceState(null, "", `#t=${seconds(this.from)},${seconds(this.to)}`); } catch { /* some pages have no address */ }
    }, 300);
  }

  /** Follows an address; true if it leads into the timeline. */
  follow(hash, flight) {
    const anomaly = /^#anomaly-(\d+)$/.exec(hash), window_ = /^#t=(-?[\d.]+),(-?[\d.]+)$/.exec(hash), op = /^#op=(\d+)$/.exec(hash);
    if (anomaly && this.ops.head.proofs[anomaly[1]]) this.showProof(Number(anomaly[1]), flight);
    else if (window_ && Number(window_[2]) > Number(window_[1])) this.go(window_[1] * 1e6, window_[2] * 1e6, flight);
    else if (op && this.ops.rowOf(Number(op[1])) >= 0) this.showRow(this.ops.rowOf(Number(op[1])), flight);
    else return false;
    return true;
  }

  /** Stands at the operations that prove an anomaly, with what there is to say about it beside them. */
  showProof(number, flight = true) {
    const { ops } = this, proof = ops.head.proofs[number];
    const rows = proof.ops.map(index => ops.rowOf(index)).filter(row => row >= 0);
    this.proof = number;
    this.chosen = new Set(rows);
    const onKey = proof.key !== "" && rows.length > 0 && rows.every(row => ops.keyName(row) === proof.key);
    this.setFilter({ lanes: "process", key: onKey ? proof.key : "", process: "", ends: [true, true, true] });
    if (rows.length) {
      const from = Math.min(...rows.map(row => ops.start[row]));
      const to = Math.max(...rows.map(row => ops.start[row] + ops.took[row]));
      const margin = Math.max((to - from) * .12, 500);
      this.go(from - margin, to + margin, flight);
      const found = this.painter.find(rows.at(-1));
      if (found) this.reveal(found[0]);
    }
    this.beside(number, rows);
  }

  showRow(row, flight = true) {
    const { ops } = this, took = Math.max(ops.took[row], 100);
    if (!this.chosen.has(row)) this.chosen = new Set([row]);
    let found = this.painter.find(row);
    if (!found) {
      this.setFilter({ lanes: this.filter.lanes, key: "", process: "", ends: [true, true, true] });
      found = this.painter.find(row);
    }
    this.go(ops.start[row] - took * 2, ops.start[row] + took * 3, flight);
    if (found) this.reveal(found[0]);
    this.told(row);
  }

  reveal(lane) {
    const { painter } = this, top = painter.tops[lane];
    if (top < painter.scroll || top > painter.scroll + painter.lanesHeight - 20) painter.scroll = top - 20;
    painter.resize();
  }

  setFilter(filter) {
    this.filter = filter;
    this.part("lanes").value = filter.lanes;
    this.part("key").value = filter.key;
    this.part("process").value = filter.process;
    ENDS.forEach((end, i) => this.part(end).checked = filter.ends[i]);
    this.relane();
  }

  /** What the checker says, copied beside the timeline. */
  beside(number, rows) {
    const side = this.part("side"), card = document.getElementById(`anomaly-${number}`);
    if (!card) return;
    const copy = element("div", { className: "told" });
    copy.append(...[...card.cloneNode(true).children].filter(child => !child.matches(".show, .proof")));
    copy.querySelectorAll("details").forEach(details => details.open = true);
    copy.querySelectorAll("[id]").forEach(part => part.removeAttribute("id"));
    const list = element("ol", { className: "plain ops" });
    list.append(...rows.map(row => this.opButton(row)));
    const heading = element("h4", { textContent: "The operations, in order" });
    const scene = copy.querySelector(".scene");
    this.part("scene").replaceChildren(...scene ? [scene] : []);
    this.part("scene").hidden = !scene;
    copy.append(heading, list);
    side.replaceChildren(this.closeButton(), copy);
    this.root.classList.add("explains");
    side.hidden = false;
  }

  opButton(row) {
    const { ops } = this, item = element("li");
    const button = element("button", { type: "button", className: "link", textContent: `#${ops.index[row]} ${ops.processName(row)}: ${ops.label(row)}` });
    button.addEventListener("click", () => this.showRow(row));
    const when = ops.open[row] ? `${ms(ops.start[row])} ms, never returned` : `${ms(ops.start[row])} – ${ms(ops.start[row] + ops.took[row])} ms`;
    item.append(button, element("span", { className: "small", textContent: ` ${when}` }));
    return item;
  }

  closeButton() {
    const close = element("button", { type: "button", className: "close", textContent: "×", ariaLabel: "Close, and show all operations" });
    close.addEventListener("click", () => this.release());
    return close;
  }

  /** Nothing stands out any more. */
  release() {
    this.chosen = new Set();
    this.proof = null;
    this.part("side").hidden = true;
    this.part("scene").hidden = true;
    this.root.classList.remove("explains");
    this.setFilter({ lanes: this.filter.lanes, key: "", process: "", ends: [true, true, true] });
  }

  /** All about one operation, under the timeline. */
  told(row) {
    const list = element("dl", { className: "pairs" });
    for (const [name, value] of this.ops.facts(row)) {
      list.append(element("dt", { textContent: name }), element("dd", { textContent: value }));
    }
    this.part("op").replaceChildren(list);
    this.part("op").hidden = false;
  }

  controls() {
    const { root, painter } = this;
    const acts = {
      in: () => this.zoom(.5), out: () => this.zoom(2), all: () => { this.go(this.min, this.max, true); this.moved(); },
      left: () => this.pan((this.from - this.to) * .3), right: () => this.pan((this.to - this.from) * .3),
    };
    root.querySelectorAll("[data-do]").forEach(button => button.addEventListener("click", acts[button.dataset.do]));
    const refilter = () => this.setFilter({
      lanes: this.part("lanes").value, key: this.part("key").value.trim(), process: this.part("process").value.trim(),
      ends: ENDS.map(end => this.part(end).checked),
    });
    for (const name of ["lanes", "key", "process", ...ENDS]) this.part(name).addEventListener("change", refilter);
    this.part("table").addEventListener("toggle", () => this.tell());
    const map = this.part("map"), toTime = event => {
      const box = map.getBoundingClientRect();
      return (event.clientX - box.left - painter.gutter) / (painter.width - painter.gutter) * this.ops.head.end;
    };
    const centre = event => { const wide = (this.to - this.from) / 2, at = toTime(event); this.go(at - wide, at + wide); this.moved(); };
    map.addEventListener("pointerdown", event => { map.setPointerCapture(event.pointerId); centre(event); });
    map.addEventListener("pointermove", event => { if (event.buttons) centre(event); });
  }

  pointers() {
    const view = this.part("view"), { painter } = this, down = new Map();
    const at = event => { const box = view.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
    let travelled = 0;
    view.addEventListener("wheel", event => {
      const focused = document.activeElement === view || event.ctrlKey || event.metaKey;
      if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        event.preventDefault();
        this.pan(event.deltaX / painter.scale);
      } else if (event.shiftKey) {
        event.preventDefault();
        this.scrollLanes(event.deltaY);
      } else if (focused) {
        event.preventDefault();
        this.zoom(Math.exp(Math.max(-240, Math.min(240, event.deltaY)) * .0022), painter.time(at(event)[0]));
      }
    }, { passive: false });
    view.addEventListener("pointerdown", event => {
      down.set(event.pointerId, at(event));
      travelled = 0;
      view.focus({ preventScroll: true });
      view.setPointerCapture(event.pointerId);
    });
    view.addEventListener("pointermove", event => {
      const [x, y] = at(event), old = down.get(event.pointerId);
      if (!old) return this.hover(x, y);
      const other = [...down].find(([id]) => id !== event.pointerId)?.[1];
      if (other) {
        const [before, now] = [Math.abs(old[0] - other[0]), Math.abs(x - other[0])];
        if (before > 8 && now > 8) this.zoom(before / now, painter.time((x + other[0]) / 2));
      } else {
        travelled += Math.abs(x - old[0]) + Math.abs(y - old[1]);
        if (travelled > 4) {
          this.tip(null);
          this.pan((old[0] - x) / painter.scale);
          if (event.pointerType === "mouse") this.scrollLanes(old[1] - y);
        }
      }
      down.set(event.pointerId, [x, y]);
    });
    const up = event => {
      const was = down.delete(event.pointerId);
      if (was && event.type === "pointerup" && travelled <= 4) this.tap(...at(event), event.pointerType === "mouse" ? 3 : 12);
    };
    view.addEventListener("pointerup", up);
    view.addEventListener("pointercancel", up);
    view.addEventListener("pointerleave", () => { this.tip(null); this.held = -1; this.line = null; this.redraw(); });
    view.addEventListener("dblclick", event => this.zoom(.25, painter.time(at(event)[0])));
  }

  scrollLanes(pixels) {
    const { painter } = this, most = painter.tops[painter.lanes.count] - painter.lanesHeight;
    painter.scroll = Math.max(0, Math.min(most, painter.scroll + pixels));
    this.redraw();
  }

  hover(x, y) {
    const hit = this.painter.at(x, y);
    this.held = hit?.row ?? -1;
    this.line = x > this.painter.gutter ? x : null;
    this.tip(hit, x, y);
    this.redraw();
  }

  tap(x, y, reach) {
    const hit = this.painter.at(x, y, reach);
    if (hit?.row >= 0) {
      if (!this.proof && this.proof !== 0) this.chosen = new Set([hit.row]);
      this.told(hit.row);
      this.redraw();
    } else if (hit?.many) this.zoom(.2, this.painter.time(x));
    this.tip(hit, x, y);
  }

  tip(hit, x, y) {
    const tip = this.part("tip"), lines = hit ? this.words(hit) : [];
    tip.hidden = lines.length === 0;
    if (!lines.length) return;
    tip.replaceChildren(...lines.map(([name, value]) => {
      const line = element("div");
      if (name) line.append(element("span", { className: "small", textContent: name + " " }));
      line.append(value);
      return line;
    }));
    const { width } = this.painter, wide = Math.min(tip.offsetWidth, width);
    const canvas = this.part("view");
    tip.style.left = `${Math.max(0, Math.min(x + 14, width - wide))}px`;
    tip.style.top = `${canvas.offsetTop + y + 18}px`;
  }

  words(hit) {
    const { ops, painter: { lanes } } = this;
    if (hit.row >= 0) return ops.facts(hit.row);
    if (hit.many) {
      const failed = lanes.failed[hit.to] - lanes.failed[hit.from], unknown = lanes.unknown[hit.to] - lanes.unknown[hit.from];
      return [["", `${counted(hit.many)} operations here: ${counted(hit.many - failed - unknown)} ok, ${failed} fail, ${unknown} info`], ["", "click to zoom in"]];
    }
    if (hit.fault) {
      const { id, kind, detail, target, nodes, from, to, installed } = hit.fault;
      return [["fault", `#${id} ${kind}: ${detail}`], ["target", `${target} → ${nodes.join(", ") || "nobody"}`],
        ["from", `${ms(from)} ms`], ["to", to === null ? "the end" : `${ms(to)} ms`], ["in effect", installed ? "yes" : "no"]];
    }
    if (hit.mark) {
      const { at, node, shard, step, epoch, detail } = hit.mark;
      return [["", `${step.replace("_", " ")}: ${node}, shard ${shard}, epoch ${epoch}`], ["at", `${ms(at)} ms`], ...(detail ? [["", detail]] : [])];
    }
    const { failover, part } = hit;
    return [["failover", `shard ${failover.shard}, epoch ${failover.epoch}: ${failover.from ?? "?"} → ${failover.to}`], ["phase", `${part[2]}, ${ms(part[1] - part[0])} ms`]];
  }

  keys() {
    this.part("view").addEventListener("keydown", event => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const wide = this.to - this.from;
      const acts = {
        ArrowLeft: () => this.pan(-wide * .15), ArrowRight: () => this.pan(wide * .15),
        ArrowUp: () => this.scrollLanes(-30), ArrowDown: () => this.scrollLanes(30),
        "+": () => this.zoom(.6), "=": () => this.zoom(.6), "-": () => this.zoom(1 / .6),
        Home: () => { this.go(this.min, this.max, true); this.moved(); }, Escape: () => this.release(),
        ",": () => this.step(-1), ".": () => this.step(1),
      };
      if (!acts[event.key]) return;
      event.preventDefault();
      acts[event.key]();
    });
  }

  /** From one operation to the next of those that are shown. */
  step(by) {
    const { wanted } = this.painter, { ops } = this;
    if (!wanted.total) return;
    const last = [...this.chosen].at(-1);
    let place = wanted.place(0, last === undefined ? this.from : ops.start[last]);
    if (last !== undefined) {
      while (place < wanted.total - 1 && wanted.rows[place] !== last && wanted.starts[place] === ops.start[last]) place++;
      place += by;
    }
    const row = wanted.rows[Math.max(0, Math.min(wanted.total - 1, place))];
    this.chosen = new Set([row]);
    const wide = this.to - this.from;
    if (ops.start[row] < this.from || ops.start[row] > this.to) this.go(ops.start[row] - wide / 2, ops.start[row] + wide / 2);
    const found = this.painter.find(row);
    if (found) this.reveal(found[0]);
    this.told(row);
    this.redraw();
  }

  /** Zooms from the whole run to one operation and back; milliseconds of each frame. */
  measure(frames) {
    const took = [], middle = this.ops.head.end * .41;
    for (let i = 0; i < frames; i++) {
      const width = (this.max - this.min) * 10 ** (-5 * Math.sin(Math.PI * i / (frames - 1)));
      this.from = middle - width / 2;
      this.to = middle + width / 2;
      const begun = performance.now();
      this.paint();
      this.painter.pen.getImageData(0, 0, 1, 1); // waits until it is painted
      took.push(performance.now() - begun);
    }
    return took.sort((a, b) => a - b);
  }
}

function compareSent(a, b) {
  return (a[1] ?? -1) - (b[1] ?? -1) || (a[0] ?? "").localeCompare(b[0] ?? "") || (a[2] ?? -1) - (b[2] ?? -1);
}

function element(name, properties = {}) { return Object.assign(document.createElement(name), properties); }
