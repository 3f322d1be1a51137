/** First in, first out. An array's own `shift` moves all that stay behind: dearest where most wait. */
export class Queue<T> {
  #head: Link<T> | null = null;
  #tail: Link<T> | null = null;

  /** The one that came first of those that are here. */
  get first(): T | undefined {
    return this.#head?.item;
  }

  push(item: T): void {
    const link = { item, next: null };
    if (this.#tail === null) this.#head = link;
    else this.#tail.next = link;
    this.#tail = link;
  }

  /** Takes the first one out. */
  shift(): void {
    const head = this.#head;
    if (head === null) return;
    this.#head = head.next;
    if (head.next === null) this.#tail = null;
    // An old link that pointed to the next one would keep it, and all after it, from the collector of young garbage.
    head.next = null;
  }
}

interface Link<T> {
  readonly item: T;
  next: Link<T> | null;
}
