const COMPACT_AT = 1_024;

/** First in, first out. A Set would do, but finding its oldest member takes longer the more were taken out before. */
export class Fifo<T> {
  #items: T[] = [];
  #head = 0;

  get oldest(): T | undefined {
    return this.#items[this.#head];
  }

  push(item: T): void {
    this.#items.push(item);
  }

  /** Takes the oldest out. */
  drop(): void {
    if (this.#head < this.#items.length) this.#head++;
    if (this.#head < COMPACT_AT || this.#head * 2 < this.#items.length) return;
    this.#items = this.#items.slice(this.#head);
    this.#head = 0;
  }
}
