// Operations sorted into lanes, with what makes any window of them quick to draw: within a lane they stand in
// order of their calls; running counts tell how many of each end lie between two places; and trees of sixteen
// branches find the longest and the shortest.

const BRANCHES = 16;

class Lanes {
  /** `laneOf(row)` is a number below `count`, or -1 for operations that are not wanted. */
  constructor(ops, count, laneOf) {
    const n = ops.count, offsets = new Uint32Array(count + 1), lane = new Int32Array(n);
    for (let row = 0; row < n; row++) if ((lane[row] = laneOf(row)) >= 0) offsets[lane[row] + 1]++;
    for (let i = 0; i < count; i++) offsets[i + 1] += offsets[i];
    const total = this.total = offsets[count], next = offsets.slice();
    this.ops = ops;
    this.count = count;
    this.laneOf = laneOf;
    this.offsets = offsets;
    this.rows = new Uint32Array(total);
    this.starts = new Float64Array(total);
    for (let row = 0; row < n; row++) {
      if (lane[row] < 0) continue;
      const place = next[lane[row]]++;
      this.rows[place] = row;
      this.starts[place] = ops.start[row];
    }
    this.failed = new Uint32Array(total + 1);
    this.unknown = new Uint32Array(total + 1);
    const took = new Float64Array(total);
    for (let i = 0; i < total; i++) {
      const end = ops.end[this.rows[i]];
      this.failed[i + 1] = this.failed[i] + (end === 1);
      this.unknown[i + 1] = this.unknown[i] + (end === 2);
      took[i] = ops.took[this.rows[i]];
    }
    this.longest = tree(took, Math.max);
    this.shortest = tree(took, Math.min);
    this.longestOf = Array.from({ length: count }, (_, i) => this.extreme(this.longest, offsets[i], offsets[i + 1], Math.max, 0));
    this.sub = null;
  }

  /** First place of a lane whose call is not before `time`. */
  place(lane, time) { return this.search(this.offsets[lane], this.offsets[lane + 1], time); }

  search(low, high, time) {
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.starts[middle] < time) low = middle + 1; else high = middle;
    }
    return low;
  }

  /** The extreme of a tree between two places. */
  extreme(levels, from, to, pick, best) {
    for (let level = 0; from < to; level++) {
      const values = levels[level];
      if (level === levels.length - 1) {
        for (; from < to; from++) best = pick(best, values[from]);
        return best;
      }
      while (from < to && from % BRANCHES) best = pick(best, values[from++]);
      while (from < to && to % BRANCHES) best = pick(best, values[--to]);
      from /= BRANCHES;
      to /= BRANCHES;
    }
    return best;
  }

  /** Calls `each` with the places between two that took at least `least`, in order. */
  eachLong(from, to, least, each) {
    const { longest } = this, top = longest.length - 1;
    const descend = (level, i) => {
      if (longest[level][i] < least) return;
      if (level === 0) { if (i >= from && i < to) each(i); return; }
      const end = Math.min((i + 1) * BRANCHES, longest[level - 1].length), width = BRANCHES ** (level - 1);
      for (let j = i * BRANCHES; j < end; j++) if ((j + 1) * width > from && j * width < to) descend(level - 1, j);
    };
    for (let i = 0; i < longest[top].length; i++) descend(top, i);
  }

  /** Where several are on at once in a lane, which of them stands how low: at most `most` rows. */
  stack(most) {
    const { ops, rows, offsets, starts } = this, sub = this.sub = new Uint8Array(this.total);
    this.depth = new Uint8Array(this.count).fill(1);
    const free = new Float64Array(most);
    for (let lane = 0; lane < this.count; lane++) {
      free.fill(-1);
      for (let i = offsets[lane]; i < offsets[lane + 1]; i++) {
        let best = 0;
        for (let k = 0; k < most; k++) {
          if (free[k] <= starts[i]) { best = k; break; }
          if (free[k] < free[best]) best = k;
        }
        free[best] = starts[i] + ops.took[rows[i]];
        sub[i] = best;
        if (best >= this.depth[lane]) this.depth[lane] = best + 1;
      }
    }
    return this;
  }
}

function tree(values, pick) {
  const levels = [values];
  while (levels.at(-1).length > 256) {
    const below = levels.at(-1), above = new Float64Array(Math.ceil(below.length / BRANCHES));
    for (let i = 0; i < above.length; i++) {
      let best = below[i * BRANCHES];
      const end = Math.min((i + 1) * BRANCHES, below.length);
      for (let j = i * BRANCHES + 1; j < end; j++) best = pick(best, below[j]);
      above[i] = best;
    }
    levels.push(above);
  }
  return levels;
}
