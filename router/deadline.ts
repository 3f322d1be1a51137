/**
 * One movable deadline on one lazy timer: moving it later costs an assignment, so that a stream may move it at every read. A timer is made only
 * for one that is still set when the work at hand is done: an answer whose head and end came together never needs it.
 */
export class Deadline {
  /** Set since the work at hand began. */
  static #unarmed: Deadline[] = [];
  readonly #now: () => number;
  readonly #onExpire: () => void;
  #atMs = Number.POSITIVE_INFINITY;
  #armedMs = Number.POSITIVE_INFINITY;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `now` is a monotonic clock in milliseconds. */
  constructor(now: () => number, onExpire: () => void) {
    this.#now = now;
    this.#onExpire = onExpire;
  }

  /** Expire at this time instead; infinity waits for ever. */
  set(atMs: number): void {
    this.#atMs = atMs;
    if (atMs >= this.#armedMs) return;
    this.#armedMs = atMs;
    if (Deadline.#unarmed.length === 0) queueMicrotask(Deadline.#armAll);
    Deadline.#unarmed.push(this);
  }

  clear(): void {
    this.#atMs = Number.POSITIVE_INFINITY;
    this.#armedMs = Number.POSITIVE_INFINITY;
    clearTimeout(this.#timer);
  }

  static #armAll(): void {
    const unarmed = Deadline.#unarmed;
    Deadline.#unarmed = [];
    for (const deadline of unarmed) deadline.#arm();
  }

  #arm(): void {
    if (this.#atMs === Number.POSITIVE_INFINITY) return;
    clearTimeout(this.#timer);
    this.#armedMs = this.#atMs;
    this.#timer = setTimeout(() => this.#fire(), Math.max(0, Math.ceil(this.#atMs - this.#now())));
  }

  #fire(): void {
    this.#armedMs = Number.POSITIVE_INFINITY;
    if (this.#atMs === Number.POSITIVE_INFINITY) return;
    if (this.#now() < this.#atMs) {
      this.#arm();
    } else {
      this.clear();
      this.#onExpire();
    }
  }
}
