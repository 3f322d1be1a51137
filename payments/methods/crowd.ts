/** How many payments this gateway has the chain look at, or wait for, at once: in all, and of one payer. */
export interface CrowdLimits {
  readonly atOnce: number;
  readonly atOncePerPayer: number;
}

export class Crowd {
  readonly #limits: CrowdLimits;
  readonly #own = new Map<string, number>();
  #all = 0;

  constructor(limits: CrowdLimits) {
    this.#limits = limits;
  }

  /** How many more there may be. */
  get room(): number {
    return this.#limits.atOnce - this.#all;
  }

  /** False, and nobody is in, when there is no room for this payer. */
  admit(payer: string): boolean {
    const own = this.#own.get(payer) ?? 0;
    if (this.room <= 0 || own >= this.#limits.atOncePerPayer) return false;
    this.enter(payer);
    return true;
  }

  /** In any case. */
  enter(payer: string): void {
    this.#all++;
    this.#own.set(payer, (this.#own.get(payer) ?? 0) + 1);
  }

  leave(payer: string): void {
    const own = (this.#own.get(payer) ?? 1) - 1;
    this.#all--;
    if (own === 0) this.#own.delete(payer);
    else this.#own.set(payer, own);
  }
}
