// The timeline on paper: sections under each other, all with the same time from left to right.

const AXIS = 20, LATENCY = 74, GAP = 8;
const READS = /^(read|get|peek|fetch|members|range|contains|size)/;
const MARKS = { suspected: "orange", lease_lost: "vermilion", elected: "rose", promoted: "green", demoted: "muted", fenced: "plum" };

class Painter {
  constructor(canvas, map, ops) {
    Object.assign(this, { canvas, map, ops });
    this.pen = canvas.getContext("2d", { alpha: false });
    this.mapPen = map.getContext("2d", { alpha: false });
    this.reading = ops.head.functions.map(name => READS.test(name));
    this.faultRows = packed(ops.head.faults, ops.head.end);
    const shards = new Set([...ops.head.failovers, ...ops.head.marks].map(thing => thing.shard));
    this.shards = [...shards].sort((a, b) => a - b);
    this.scroll = 0;
    this.whole = new Lanes(ops, 1, () => 0);
    this.slowest = Math.max(this.whole.longestOf[0], 1000);
    this.quickest = 100;
    this.takeColours();
  }

  takeColours() {
    const style = getComputedStyle(document.documentElement);
    this.colour = new Proxy({}, { get: (known, name) => known[name] ??= style.getPropertyValue("--t-" + name).trim() || "#888" });
    this.ends = [this.colour.blue, this.colour.orange, this.colour.plum];
    this.mapDrawn = null;
  }

  /** Takes lanes: `names(lane, first, last)` is what stands beside one. */
  take(lanes, wanted, names) {
    Object.assign(this, { lanes, wanted, names, mapDrawn: null, scroll: 0 });
    this.slowest = Math.max(wanted.longestOf[0], 1000);
    const least = wanted.extreme(wanted.shortest, 0, wanted.total, Math.min, Infinity);
    this.quickest = Math.min(Math.max(least, 20), this.slowest / 10);
    this.resize();
  }

  /** Measures the page and lays the sections out. */
  resize() {
    const width = this.width = Math.max(this.canvas.parentElement.clientWidth, 200);
    this.gutter = width < 560 ? 46 : 96;
    const faultHeight = this.faultHeight = this.faultRows.count > 7 ? 7 : 17;
    let y = AXIS + 4;
    this.faultsAt = y; y += this.faultRows.count * faultHeight + (this.faultRows.count ? GAP : 0);
    this.shardsAt = y; y += this.shards.length * 28 + (this.shards.length ? GAP : 0);
    this.latencyAt = y; y += LATENCY + GAP;
    this.lanesAt = y;
    const { lanes } = this, depths = lanes.sub ? lanes.depth : null;
    const room = Math.min(Math.max(window.innerHeight - 260, 220), 460);
    const deep = depths ? depths.reduce((sum, depth) => sum + depth, 0) : lanes.count;
    const unit = this.unit = Math.min(Math.max(Math.floor(room / Math.max(deep, 1)), depths ? 7 : 13), depths ? 16 : 26);
    this.tops = new Float64Array(lanes.count + 1);
    for (let i = 0; i < lanes.count; i++) this.tops[i + 1] = this.tops[i] + (depths ? Math.max(depths[i] * unit, 13) + 3 : unit);
    this.lanesHeight = Math.max(Math.min(this.tops[lanes.count], room), 40);
    this.height = y + this.lanesHeight + 4;
    this.scroll = Math.min(this.scroll, this.tops[lanes.count] - this.lanesHeight);
    if (this.scroll < 0) this.scroll = 0;
    for (const [canvas, pen, height] of [[this.canvas, this.pen, this.height], [this.map, this.mapPen, 44]]) {
      const ratio = Math.min(window.devicePixelRatio || 1, 2);
      const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
      if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
      canvas.style.height = height + "px";
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    this.mapDrawn = null;
  }

  x(time) { return this.gutter + (time - this.from) * this.scale; }
  time(x) { return this.from + (x - this.gutter) / this.scale; }

  /** Draws what is between two times. `chosen` are rows that stand out, `held` the one that is pointed at. */
  draw(from, to, chosen, held, line) {
    const { pen, colour, width, gutter } = this;
    Object.assign(this, { from, to, chosen });
    this.scale = (width - gutter) / (to - from);
    pen.fillStyle = colour.paper;
    pen.fillRect(0, 0, width, this.height);
    pen.font = "11px system-ui, sans-serif";
    pen.textBaseline = "middle";
    pen.save();
    pen.beginPath();
    pen.rect(gutter, 0, width - gutter, this.height);
    pen.clip();
    this.grid();
    this.bands();
    this.faults();
    this.failovers();
    this.latency();
    this.operations();
    if (chosen.size) this.outlines(chosen);
    if (held >= 0) this.outline(held, 1.5, false);
    if (line !== null) this.rect(colour.muted, line, AXIS, 1, this.height - AXIS, .5);
    pen.restore();
    this.names_();
    this.drawMap();
  }

  rect(style, x, y, w, h, alpha = 1) {
    const { pen } = this;
    pen.globalAlpha = alpha;
    pen.fillStyle = style;
    pen.fillRect(x, y, w, h);
    pen.globalAlpha = 1;
  }

  text(words, x, y, style, room = Infinity, align = "left") {
    const short = fit(words, room);
    if (!short) return 0;
    this.pen.fillStyle = style;
    this.pen.textAlign = align;
    this.pen.fillText(short, x, y);
    return room === Infinity ? this.pen.measureText(short).width : short.length * 6;
  }

  grid() {
    const { colour, from, to, width, gutter } = this;
    const step = nice((to - from) / Math.max((width - gutter) / 110, 1));
    const digits = Math.max(0, Math.min(6, 6 - Math.floor(Math.log10(step) + 1e-9)));
    for (let t = Math.ceil(from / step) * step; t <= to; t += step) {
      const x = this.x(t);
      this.rect(colour.grid, x, AXIS - 3, 1, this.height);
      this.text(`${(t / 1e6).toFixed(digits)} s`, x + 3, 9, colour.muted);
    }
  }

  bands() {
    const top = this.latencyAt - 2, { head } = this.ops;
    for (const fault of head.faults) {
      if (!fault.installed) continue;
      const [x, end] = this.clipped(fault.from, fault.to ?? head.end);
      if (end > x) this.rect(this.colour.violet, x, top, end - x, this.height - top, .09);
    }
  }

  clipped(from, to) {
    return [Math.max(this.x(from), this.gutter - 2), Math.min(Math.max(this.x(to), this.x(from) + 2), this.width + 2)];
  }

  faults() {
    const { pen, colour, faultRows, faultHeight } = this, { head } = this.ops, until = new Float64Array(faultRows.count).fill(Infinity);
    for (const { fault, row } of faultRows.placed.toReversed()) {
      const [x, end] = this.clipped(fault.from, fault.to ?? head.end);
      if (end < this.gutter || x > this.width) { if (x > this.width) until[row] = Math.min(until[row], x); continue; }
      const y = this.faultsAt + row * faultHeight;
      if (fault.installed) this.rect(colour.violet, x, y, end - x, faultHeight - 2, .32);
      pen.strokeStyle = colour.violet;
      pen.setLineDash(fault.installed ? [] : [3, 3]);
      pen.strokeRect(x + .5, y + .5, Math.max(end - x - 1, 1), faultHeight - 3);
      pen.setLineDash([]);
      if (faultHeight > 12) {
        const words = `#${fault.id} ${fault.kind}${fault.installed ? "" : " (no effect)"} · ${fault.target}`;
        this.text(words, x + 4, y + faultHeight / 2, colour.ink, Math.min(until[row], this.width) - x - 8);
      }
      until[row] = x;
    }
  }

  failovers() {
    const { colour, ops } = this;
    for (const failover of ops.head.failovers) {
      const y = this.shardsAt + this.shards.indexOf(failover.shard) * 28 + 15;
      for (const [from, to, , tone] of failover.parts) {
        const [x, end] = this.clipped(from, to);
        if (end > this.gutter && x < this.width) this.rect(colour[tone], x, y, Math.max(end - x, 1), 9, .9);
      }
    }
    // From the last to the first: words end where the next mark stands.
    const until = this.shards.map(() => this.width);
    for (const mark of ops.head.marks.toReversed()) {
      const x = this.x(mark.at), lane = this.shards.indexOf(mark.shard), y = this.shardsAt + lane * 28;
      if (x > this.width + 1) { until[lane] = Math.min(until[lane], Math.max(x, this.width)); continue; }
      if (x < this.gutter - 1) continue;
      const tone = colour[MARKS[mark.step] ?? "muted"];
      this.rect(tone, x - 1, y + 2, 2, 24);
      this.rect(tone, x - 1, y + 2, 6, 5);
      this.text(`${mark.step.replace("_", " ")} ${mark.node}`, x + 8, y + 7, colour.ink, until[lane] - x - 14);
      until[lane] = x;
    }
  }

  latencyY(took) {
    const low = Math.log(this.quickest), high = Math.log(this.slowest * 1.3);
    return this.latencyAt + LATENCY * (1 - Math.min(Math.max((Math.log(Math.max(took, 1)) - low) / (high - low), 0), 1));
  }

  latency() {
    const { colour, wanted, ops } = this;
    for (let unit = 10 ** Math.ceil(Math.log10(this.quickest)); unit <= this.slowest; unit *= 10) {
      this.rect(colour.grid, this.gutter, this.latencyY(unit), this.width, 1);
    }
    const from = wanted.place(0, this.from), to = wanted.place(0, this.to), dim = this.dim();
    if (to - from <= 3000) {
      for (let i = from; i < to; i++) {
        const row = wanted.rows[i];
        const x = this.x(wanted.starts[i]), y = this.latencyY(ops.took[row]);
        this.rect(this.ends[ops.end[row]], x - 1.5, y - 1.5, 3, 3, .85 * dim);
      }
      return;
    }
    let at = from;
    for (let x = this.gutter; x < this.width && at < to; x++) {
      const next = wanted.search(at, to, this.time(x + 1));
      if (next === at) continue;
      const top = this.latencyY(wanted.extreme(wanted.longest, at, next, Math.max, 0));
      const low = this.latencyY(wanted.extreme(wanted.shortest, at, next, Math.min, Infinity));
      this.rect(colour.blue, x, top, 1, Math.max(low - top, 1), .5 * dim);
      if (wanted.unknown[next] > wanted.unknown[at]) this.rect(colour.plum, x, top - 1, 1.5, 3);
      if (wanted.failed[next] > wanted.failed[at]) this.rect(colour.orange, x, low - 1, 1.5, 3);
      at = next;
    }
  }

  /** Colour of words upon a bar. */
  onBar(end) { return end === 1 ? this.colour.onbar : this.colour.onok; }

  /** Everything else is paler while some stand out. */
  dim() { return this.chosen.size ? .45 : 1; }

  laneTop(lane) { return this.lanesAt + this.tops[lane] - this.scroll; }

  /** First and last lane in view. */
  lanesInView() {
    let first = 0;
    while (first < this.lanes.count - 1 && this.tops[first + 1] <= this.scroll) first++;
    let last = first;
    while (last < this.lanes.count && this.tops[last] < this.scroll + this.lanesHeight) last++;
    return [first, last];
  }

  operations() {
    const { pen, lanes, colour } = this, columns = this.width - this.gutter;
    pen.save();
    pen.beginPath();
    pen.rect(this.gutter, this.lanesAt, columns, this.lanesHeight);
    pen.clip();
    const bars = [[], [], [], []], labels = [];
    const [first, last] = this.lanesInView();
    for (let lane = first; lane < last; lane++) {
      const top = this.laneTop(lane);
      this.rect(colour.grid, this.gutter, top + this.tops[lane + 1] - this.tops[lane] - 1, columns, 1, .7);
      const from = lanes.place(lane, this.from - lanes.longestOf[lane]), to = lanes.place(lane, this.to);
      if (to - from <= columns) {
        for (let i = from; i < to; i++) this.bar(i, lane, top, bars, labels);
      } else {
        this.bins(lane, top, lanes.place(lane, this.from), to);
        lanes.eachLong(from, to, 2 / this.scale, i => this.bar(i, lane, top, bars, labels));
      }
    }
    const styles = [[this.ends[0], .95], [this.ends[0], .5], [this.ends[1], .95], [this.ends[2], .95]];
    bars.forEach((list, kind) => {
      pen.fillStyle = styles[kind][0];
      pen.globalAlpha = styles[kind][1] * this.dim();
      for (let i = 0; i < list.length; i += 4) pen.fillRect(list[i], list[i + 1], list[i + 2], list[i + 3]);
    });
    pen.globalAlpha = this.dim();
    for (const [row, x, y, room] of labels) {
      const reading = this.ops.end[row] === 0 && this.reading[this.ops.fn[row]];
      this.text(this.ops.label(row), x, y, reading ? colour.ink : this.onBar(this.ops.end[row]), room);
    }
    pen.globalAlpha = 1;
    pen.restore();
  }

  /** Where an operation's bar is: x, y, width, height. */
  place(i, lane, top) {
    const { lanes, ops } = this, row = lanes.rows[i];
    const x = this.x(lanes.starts[i]);
    const width = ops.open[row] ? Math.max(14, 0) : Math.max(ops.took[row] * this.scale, 1.5);
    const height = lanes.sub ? this.unit : this.tops[lane + 1] - this.tops[lane];
    const y = top + (lanes.sub ? 1 + lanes.sub[i] * this.unit : 2);
    return [x, y, width, Math.max(height - (lanes.sub ? 2 : 5), 3)];
  }

  bar(i, lane, top, bars, labels) {
    const { lanes, ops } = this, row = lanes.rows[i];
    let [x, y, width, height] = this.place(i, lane, top);
    if (x + width < this.gutter || x > this.width) return;
    const right = Math.min(x + width, this.width + 4), end = ops.end[row];
    x = Math.max(x, this.gutter - 4);
    width = right - x;
    bars[end === 0 ? +this.reading[ops.fn[row]] : end + 1].push(x, y, width > 4 ? width - .5 : width, height);
    // It may take effect at any later time: its bar has no end.
    if (end === 2 && width > 4) bars[3].push(right + 1, y + height * .25, 2, height * .5, right + 4.5, y + height * .35, 1.5, height * .3);
    if (width > 34 && height >= 10) labels.push([row, Math.max(x, this.gutter) + 4, y + height / 2 + .5, right - Math.max(x, this.gutter) - 8]);
  }

  /** Counts by column: how high says how many, the colours at the foot how they ended. */
  bins(lane, top, from, to) {
    const { lanes, pen } = this, height = this.tops[lane + 1] - this.tops[lane] - 4, floor = top + height + 2;
    const counts = [];
    let at = from, most = 1;
    for (let x = this.gutter; x < this.width && at < to; x++) {
      const next = lanes.search(at, to, this.time(x + 1));
      counts.push(x, at, next);
      most = Math.max(most, next - at);
      at = next;
    }
    const dim = this.dim();
    pen.globalAlpha = .6 * dim;
    pen.fillStyle = this.ends[0];
    for (let i = 0; i < counts.length; i += 3) {
      const count = counts[i + 2] - counts[i + 1];
      if (count) { const h = Math.max(height * Math.sqrt(count / most), 2); pen.fillRect(counts[i], floor - h, 1, h); }
    }
    pen.globalAlpha = dim;
    for (let i = 0; i < counts.length; i += 3) {
      const [x, a, b] = [counts[i], counts[i + 1], counts[i + 2]];
      const failed = lanes.failed[b] - lanes.failed[a], unknown = lanes.unknown[b] - lanes.unknown[a];
      if (!failed && !unknown) continue;
      const h = Math.max(height * Math.sqrt((b - a) / most), 5), share = count => count && Math.max(h * count / (b - a), 2.5);
      pen.fillStyle = this.ends[1];
      pen.fillRect(x, floor - share(failed), 1, share(failed));
      pen.fillStyle = this.ends[2];
      pen.fillRect(x, floor - share(failed) - share(unknown), 1, share(unknown));
    }
    pen.globalAlpha = 1;
  }

  /** Lane and place of a row among the lanes; null where it is filtered out. */
  find(row) {
    const { lanes, ops } = this, lane = lanes.laneOf(row);
    if (lane < 0) return null;
    for (let i = lanes.place(lane, ops.start[row]); i < lanes.offsets[lane + 1] && lanes.starts[i] === ops.start[row]; i++) {
      if (lanes.rows[i] === row) return [lane, i];
    }
    return null;
  }

  outlines(rows) {
    const { pen } = this;
    pen.save();
    pen.beginPath();
    pen.rect(this.gutter, this.lanesAt, this.width, this.lanesHeight);
    pen.clip();
    this.words = [];
    for (const row of rows) this.outline(row, 2, true);
    for (const [words, x, y, w, h] of this.words) {
      this.rect(this.colour.paper, x, y, w, h, .85);
      this.text(words, x + 4, y + h / 2 + .5, this.colour.ink);
    }
    pen.restore();
  }

  outline(row, thick, full) {
    const found = this.find(row), { pen, ops, colour } = this;
    if (!found) return;
    const [x, y, width, height] = this.place(found[1], found[0], this.laneTop(found[0]));
    if (y + height < this.lanesAt) return;
    const wide = Math.max(width, 4);
    if (full) {
      const end = ops.end[row], reading = end === 0 && this.reading[ops.fn[row]];
      this.rect(colour.paper, x, y, wide, height);
      this.rect(this.ends[end], x, y, wide, height, reading ? .5 : .95);
    }
    pen.strokeStyle = colour.ink;
    pen.lineWidth = thick;
    pen.strokeRect(x, y, wide, height);
    pen.lineWidth = 1;
    if (!full) return;
    const words = ops.label(row), room = wide - 8, left = Math.max(x, this.gutter);
    if (room - (left - x) > words.length * 5.6) {
      this.text(words, left + 4, y + height / 2 + .5, ops.end[row] === 0 && this.reading[ops.fn[row]] ? colour.ink : this.onBar(ops.end[row]));
    } else {
      // After it, or before it, wherever it hides no other words.
      const w = pen.measureText(words).width + 8;
      const fits = at => at > this.gutter && at + w < this.width + 2
        && !this.words.some(([, x, top, wide]) => top === y && at < x + wide && x < at + w);
      const at = [x + wide + 3, x - w - 2].find(fits);
      if (at !== undefined) this.words.push([words, at, y, w, height]);
    }
  }

  names_() {
    const { colour, gutter, lanes, ops, pen } = this, narrow = gutter < 60;
    this.rect(colour.paper, 0, 0, gutter, this.height);
    this.rect(colour.grid, gutter - 1, AXIS, 1, this.height);
    const name = (words, y, style = colour.muted) => this.text(words, gutter - 7, y, style, gutter - 10, "right");
    if (this.faultRows.count) name("faults", this.faultsAt + 7);
    this.shards.forEach((shard, i) => name(narrow ? `s${shard}` : `shard ${shard}`, this.shardsAt + i * 28 + 14));
    name(narrow ? "took" : "latency", this.latencyAt + LATENCY - 4);
    for (let unit = 10 ** Math.ceil(Math.log10(this.quickest)); unit <= this.slowest; unit *= 10) {
      if (this.latencyY(unit) < this.latencyAt + LATENCY - 16) name(span(unit), this.latencyY(unit));
    }
    pen.save();
    pen.beginPath();
    pen.rect(0, this.lanesAt, gutter, this.lanesHeight);
    pen.clip();
    const [first, last] = this.lanesInView();
    for (let lane = first; lane < last; lane++) {
      // Who is at work in it, or was last before.
      const began = lanes.offsets[lane], next = lanes.offsets[lane + 1];
      let from = lanes.place(lane, this.from), to = Math.max(lanes.place(lane, this.to), began + 1);
      const before = from > began ? lanes.rows[from - 1] : -1;
      if (before >= 0 && (from >= to || ops.start[before] + ops.took[before] > this.from)) from--;
      from = Math.min(from, next - 1);
      name(this.names(lane, lanes.rows[from], lanes.rows[Math.max(to - 1, from)]), this.laneTop(lane) + (this.tops[lane + 1] - this.tops[lane]) / 2, colour.ink);
    }
    pen.restore();
    if (this.tops[lanes.count] > this.lanesHeight) {
      const share = this.lanesHeight / this.tops[lanes.count];
      this.rect(colour.muted, this.width - 4, this.lanesAt + this.scroll * share, 3, this.lanesHeight * share, .6);
    }
    if (!lanes.total) this.text("no operation matches the filter", gutter + 12, this.lanesAt + 20, colour.muted);
  }

  /** The whole run at a glance, with the window on it. */
  drawMap() {
    const { map, mapPen: pen, width, gutter, colour, ops, wanted } = this, end = ops.head.end, height = 44;
    const columns = width - gutter;
    const x = time => gutter + time / end * columns;
    if (!this.mapDrawn) {
      const ratio = map.width / width, sheet = this.mapDrawn = document.createElement("canvas");
      Object.assign(sheet, { width: map.width, height: map.height });
      const ink = sheet.getContext("2d", { alpha: false });
      ink.setTransform(ratio, 0, 0, ratio, 0, 0);
      ink.fillStyle = colour.paper;
      ink.fillRect(0, 0, width, height);
      const counts = [];
      let at = 0, most = 1;
      for (let i = 0; i < columns; i++) {
        const next = wanted.search(at, wanted.total, (i + 1) / columns * end);
        counts.push([next - at, wanted.failed[next] - wanted.failed[at], wanted.unknown[next] - wanted.unknown[at]]);
        most = Math.max(most, next - at);
        at = next;
      }
      counts.forEach(([all, failed, unknown], i) => {
        let foot = height - 1;
        for (const [count, style] of [[failed, this.ends[1]], [unknown, this.ends[2]], [all - failed - unknown, this.ends[0]]]) {
          if (!count) continue;
          const h = Math.max(34 * count / most, 1.5);
          ink.fillStyle = style;
          ink.fillRect(gutter + i, foot - h, 1, h);
          foot -= h;
        }
      });
      for (const fault of ops.head.faults) {
        ink.globalAlpha = fault.installed ? .8 : .3;
        ink.fillStyle = colour.violet;
        ink.fillRect(x(fault.from), 2, Math.max(x(fault.to ?? end) - x(fault.from), 2), 3);
      }
      ink.globalAlpha = 1;
      for (const proof of ops.head.proofs) {
        const row = ops.rowOf(proof.ops.at(-1));
        if (row < 0) continue;
        ink.fillStyle = colour.vermilion;
        ink.beginPath();
        ink.moveTo(x(ops.start[row]), 14); ink.lineTo(x(ops.start[row]) - 4, 7); ink.lineTo(x(ops.start[row]) + 4, 7);
        ink.fill();
      }
      ink.fillStyle = colour.muted;
      ink.font = "11px system-ui, sans-serif";
      ink.textAlign = "right";
      ink.fillText(gutter < 60 ? "run" : "whole run", gutter - 7, 28);
    }
    pen.drawImage(this.mapDrawn, 0, 0, width, height);
    const [from, to] = [Math.max(x(this.from), gutter), Math.min(x(this.to), width)];
    pen.globalAlpha = .12;
    pen.fillStyle = colour.ink;
    pen.fillRect(gutter, 0, from - gutter, height);
    pen.fillRect(to, 0, width - to, height);
    pen.globalAlpha = 1;
    pen.strokeStyle = colour.ink;
    pen.lineWidth = 1.5;
    pen.strokeRect(from + .75, .75, Math.max(to - from - 1.5, 2), height - 1.5);
  }

  /** What is at a point: {row}, {many, from, to} for a column of many, {fault}, {mark}, or null. */
  at(x, y, reach = 3) {
    const { lanes, ops } = this, time = this.time(x), slack = reach / this.scale;
    if (x < this.gutter) return null;
    if (y >= this.lanesAt) {
      let lane = -1;
      for (let i = 0; i < lanes.count; i++) if (y >= this.laneTop(i) && y < this.laneTop(i + 1)) lane = i;
      if (lane < 0) return null;
      const from = lanes.place(lane, time - lanes.longestOf[lane] - slack), to = lanes.place(lane, time + slack);
      const near = lanes.place(lane, time - .5 / this.scale), after = lanes.place(lane, time + .5 / this.scale);
      if (after - near > 3) return { many: after - near, from: near, to: after };
      let best = null, least = Infinity;
      for (let i = to - 1; i >= Math.max(from, to - 5000); i--) {
        const [left, top, wide, high] = this.place(i, lane, this.laneTop(lane));
        const dx = Math.max(left - x, x - left - wide, 0), dy = lanes.sub ? Math.max(top - y, y - top - high, 0) : 0;
        if (dx <= reach && dx + dy < least) { least = dx + dy; best = { row: lanes.rows[i] }; }
        if (!lanes.sub && best && dx === 0) break;
      }
      return best;
    }
    if (y >= this.latencyAt) {
      const { wanted } = this, from = wanted.place(0, time - slack), to = wanted.place(0, time + slack);
      let best = null, least = 6;
      for (let i = from; i < Math.min(to, from + 5000); i++) {
        const distance = Math.abs(this.latencyY(ops.took[wanted.rows[i]]) - y);
        if (distance < least) { least = distance; best = { row: wanted.rows[i] }; }
      }
      return best;
    }
    if (y >= this.shardsAt) {
      const shard = this.shards[Math.floor((y - this.shardsAt) / 28)];
      const mark = ops.head.marks.filter(mark => mark.shard === shard && Math.abs(mark.at - time) <= slack).at(-1);
      if (mark) return { mark };
      for (const failover of ops.head.failovers) {
        if (failover.shard !== shard) continue;
        const part = failover.parts.find(([from, to]) => time >= from && time <= to);
        if (part) return { failover, part };
      }
      return null;
    }
    const row = Math.floor((y - this.faultsAt) / this.faultHeight);
    const hit = this.faultRows.placed.find(({ fault, row: at }) =>
      at === row && time >= fault.from - slack && time <= (fault.to ?? ops.head.end) + slack);
    return hit ? { fault: hit.fault } : null;
  }
}

/** Faults in as few rows as they need not to overlap. */
function packed(faults, end) {
  const ends = [];
  const placed = faults.toSorted((a, b) => a.from - b.from).map(fault => {
    let row = ends.findIndex(until => until <= fault.from);
    if (row < 0) row = ends.length;
    ends[row] = fault.to ?? end;
    return { fault, row };
  });
  return { placed, count: ends.length };
}

/** The next of 1, 2 and 5 times a power of ten. */
function nice(step) {
  const unit = 10 ** Math.floor(Math.log10(step)), times = step / unit;
  return unit * (times <= 1 ? 1 : times <= 2 ? 2 : times <= 5 ? 5 : 10);
}

/** As many characters as fit, about. */
function fit(words, room) {
  if (room === Infinity || words.length * 6 <= room) return words;
  const most = Math.floor(room / 6.2);
  return most < 3 ? "" : words.slice(0, most - 1) + "…";
}
