import { Fifo } from './fifo.ts';

/** Lets so many works run at once; the others wait for their turn, first come first served. */
export class Turns {
  readonly #waiting = new Fifo<() => void>();
  #free: number;

  constructor(atOnce: number) {
    this.#free = atOnce;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.oldest;
      this.#waiting.drop();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}
