/** Which workers of a pool are looked at for one call: all, up to a size at which a choice still costs microseconds. */
import type { Prefix } from './prefix.ts';
import type { Worker } from './worker.ts';

/** More would make the cost of a choice grow with the fleet. */
const LOOKED_AT_MAX = 128;
/** Of those, the ones that lately were sent something with the same beginning. */
const WARM_MAX = 8;
/** Beginnings that are remembered. */
const HOMES_MAX = 65_536;

/**
 * Beyond that size: workers that know the beginning of the prompt, and others at random. The best of so many chosen at random is among
 * the best hundredth with a chance of three in four, and among the best twentieth nearly always.
 */
export class CandidatePool {
  readonly #random: () => number;
  /** The worker that was last sent a chain of blocks, by a few of its keys. */
  readonly #homes = new Map<number, Worker>();

  constructor(random: () => number) {
    this.#random = random;
  }

  of(pool: readonly Worker[], prefix: Prefix | null): readonly Worker[] {
    if (pool.length <= LOOKED_AT_MAX) return pool;
    const looked = new Set(this.#warm(pool, prefix));
    while (looked.size < LOOKED_AT_MAX) {
      const worker = pool[Math.floor(this.#random() * pool.length)];
      if (worker !== undefined) looked.add(worker);
    }
    return [...looked];
  }

  /** The prompt was sent there. */
  note(pool: readonly Worker[], prefix: Prefix | null, worker: Worker): void {
    if (pool.length <= LOOKED_AT_MAX || prefix === null) return;
    for (const key of landmarks(prefix)) {
      this.#homes.delete(key);
      this.#homes.set(key, worker);
    }
    for (const key of this.#homes.keys()) {
      if (this.#homes.size <= HOMES_MAX) return;
      this.#homes.delete(key);
    }
  }

  /** The worker is gone: nothing may hold on to it. */
  forget(worker: Worker): void {
    for (const [key, home] of this.#homes) if (home === worker) this.#homes.delete(key);
  }

  /** Beginnings that are remembered. */
  get size(): number {
    return this.#homes.size;
  }

  #warm(pool: readonly Worker[], prefix: Prefix | null): Worker[] {
    const warm = new Set<Worker>();
    for (const key of prefix === null ? [] : landmarks(prefix).reverse()) {
      const worker = this.#homes.get(key);
      if (worker !== undefined && pool.includes(worker)) warm.add(worker);
      if (warm.size === WARM_MAX) break;
    }
    return [...warm];
  }
}

/** The first, second, fourth, eighth … key of a chain, and its last: a longer prompt with the same beginning shares most of them. */
function landmarks({ keys }: Prefix): number[] {
  const found: number[] = [];
  for (let at = 1; at < keys.length; at *= 2) found.push(keys[at - 1] ?? 0);
  return [...found, ...keys.subarray(-1)];
}
