/** A gateway says every few seconds which requests it still stands for; those of one that died are over soon after. */
import { every } from '../rounds.ts';

/** How long a gateway stands for a request before it must say so again. */
export const STANDS_MS = 15_000;
const RENEW_EVERY_MS = 4_000;

export class Standing {
  readonly #ids = new Set<string>();

  add(id: string): void {
    this.#ids.add(id);
  }

  delete(id: string): void {
    this.#ids.delete(id);
  }

  /** Says so of all, by `renew`, until the returned function is called. */
  keep(
    renew: (ids: readonly string[], standsMs: number) => Promise<void>,
    failed: (error: unknown) => void,
  ): () => void {
    const work = () => (this.#ids.size === 0 ? Promise.resolve() : renew([...this.#ids], STANDS_MS));
    return every(RENEW_EVERY_MS, work, failed);
  }
}
