/** Until there are more entries, when the cells are doubled. A power of two. */
const FIRST_CELLS = 16;
/** Spreads neighbouring keys over all cells: 2³² over the golden ratio (Knuth, The Art of Computer Programming 3, §6.4). */
const SPREAD = 0x9e3779b1;

/**
 * A map from one 32-bit integer to another that is not 0: 0 means that nothing is known of a key. Keys and values stand side by side in one
 * array, so that a look-up costs one miss of the processor's caches. A Map of millions misses several times, and as entries come and
 * go it is copied as a whole again and again, which the longest choices of a worker waited for.
 */
export class IntMap {
  /** A key, then its value. Those with the same cell stand behind one another, without a gap. */
  #cells = new Int32Array(2 * FIRST_CELLS);
  #shift = 32 - Math.log2(FIRST_CELLS);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** 0: there is none. */
  get(key: number): number {
    return this.#cells[this.#find(key) + 1] ?? 0;
  }

  /** The value must not be 0. */
  set(key: number, value: number): void {
    const at = this.#find(key);
    const isNew = this.#cells[at + 1] === 0;
    this.#cells[at] = key;
    this.#cells[at + 1] = value;
    if (!isNew) return;
    this.#size += 1;
    // Half empty at least: a search ends at the first empty cell.
    if (4 * this.#size > this.#cells.length) this.#grow();
  }

  delete(key: number): void {
    const cells = this.#cells;
    let gap = this.#find(key);
    if (cells[gap + 1] === 0) return;
    this.#size -= 1;
    // Whatever stands behind it and may stand nearer to where its search begins moves up: no search may meet a gap too early.
    for (let at = this.#next(gap); cells[at + 1] !== 0; at = this.#next(at)) {
      const moved = cells[at] ?? 0;
      const mask = cells.length - 1;
      if (((at - this.#begin(moved)) & mask) < ((at - gap) & mask)) continue;
      cells[gap] = moved;
      cells[gap + 1] = cells[at + 1] ?? 0;
      gap = at;
    }
    cells[gap + 1] = 0;
  }

  /** In no order. */
  *keys(): Generator<number> {
    const cells = this.#cells;
    for (let at = 0; at < cells.length; at += 2) if (cells[at + 1] !== 0) yield cells[at] ?? 0;
  }

  /** Where the key stands, or would. */
  #find(key: number): number {
    const cells = this.#cells;
    let at = this.#begin(key);
    while (cells[at + 1] !== 0 && cells[at] !== key) at = this.#next(at);
    return at;
  }

  #begin(key: number): number {
    return (Math.imul(key, SPREAD) >>> this.#shift) << 1;
  }

  #next(at: number): number {
    return (at + 2) & (this.#cells.length - 1);
  }

  #grow(): void {
    const old = this.#cells;
    this.#cells = new Int32Array(2 * old.length);
    this.#shift -= 1;
    for (let at = 0; at < old.length; at += 2) {
      const value = old[at + 1] ?? 0;
      if (value === 0) continue;
      const free = this.#find(old[at] ?? 0);
      this.#cells[free] = old[at] ?? 0;
      this.#cells[free + 1] = value;
    }
  }
}
