/**
 * One movable deadline on one lazy timer: moving it later costs an assignment, so that a stream may move it at every read.
 */
export class Deadline {
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
    if (atMs < this.#armedMs) this.#arm();
  }

  clear(): void {
    this.#atMs = Number.POSITIVE_INFINITY;
    this.#armedMs = Number.POSITIVE_INFINITY;
    clearTimeout(this.#timer);
  }

  #arm(): void {
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
