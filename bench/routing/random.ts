/** A seeded source of chance, and the distributions that traces are made of. */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed * 2_654_435_761 + 1) >>> 0;
  }

  /** Uniform in [0, 1): mulberry32. */
  readonly next = (): number => {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };

  exponential(mean: number): number {
    return -mean * Math.log(1 - this.next());
  }

  logNormal(mu: number, sigma: number): number {
    const normal = Math.sqrt(-2 * Math.log(1 - this.next())) * Math.cos(2 * Math.PI * this.next());
    return Math.exp(mu + sigma * normal);
  }

  /** How often in a row something of this chance happens, and once more. */
  geometric(chance: number): number {
    return 1 + Math.floor(Math.log(1 - this.next()) / Math.log(chance));
  }
}
