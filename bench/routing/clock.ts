/** Simulated time: acts in the order of their moments. */
export class Clock {
  nowMs = 0;
  readonly #heap: { readonly ms: number; readonly order: number; readonly act: () => void }[] = [];
  #order = 0;

  readonly at = (ms: number, act: () => void): void => {
    const heap = this.#heap;
    heap.push({ ms, order: ++this.#order, act });
    for (let child = heap.length - 1; child > 0; ) {
      const parent = (child - 1) >> 1;
      if (!this.#swapIfLater(parent, child)) return;
      child = parent;
    }
  };

  /** Runs until nothing is left to do. */
  run(): void {
    for (let next = this.#take(); next !== undefined; next = this.#take()) {
      this.nowMs = next.ms;
      next.act();
    }
  }

  #take() {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    heap[0] = last;
    for (let parent = 0; ; ) {
      const left = 2 * parent + 1;
      if (left >= heap.length) return first;
      const right = left + 1;
      const child = right < heap.length && this.#isLater(left, right) ? right : left;
      if (!this.#swapIfLater(parent, child)) return first;
      parent = child;
    }
  }

  #swapIfLater(parent: number, child: number): boolean {
    if (!this.#isLater(parent, child)) return false;
    const heap = this.#heap;
    const [above, below] = [heap[parent], heap[child]];
    if (above !== undefined && below !== undefined) [heap[parent], heap[child]] = [below, above];
    return true;
  }

  #isLater(one: number, other: number): boolean {
    const [a, b] = [this.#heap[one], this.#heap[other]];
    if (a === undefined || b === undefined) return false;
    return a.ms > b.ms || (a.ms === b.ms && a.order > b.order);
  }
}
