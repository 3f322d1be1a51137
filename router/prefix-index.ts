/**
 * Which workers' prefix mirrors hold a block, for all workers at once: one look per block tells how far each of them knows a prompt, where
 * asking each mirror would miss the processor's caches a hundred times. It holds what the mirrors hold and nothing else; their limits are its.
 */
import type { Prefix } from './prefix.ts';

export class PrefixIndex {
  /** By key: the place of the one mirror that holds it, or of each of several. */
  readonly #holders = new Map<number, number | number[]>();
  readonly #free: number[] = [];
  #places = 0;
  #known = new Int32Array(0);

  /** Keys that some mirror holds. */
  get size(): number {
    return this.#holders.size;
  }

  /** A place for a mirror, small and its own until it leaves. */
  enter(): number {
    const place = this.#free.pop() ?? this.#places++;
    if (this.#places > this.#known.length) this.#known = new Int32Array(2 * this.#places);
    return place;
  }

  /** All that the mirror held must have been deleted before. */
  leave(place: number): void {
    this.#free.push(place);
  }

  /** The mirror, which did not hold the key, now does. */
  add(key: number, place: number): void {
    const holders = this.#holders.get(key);
    if (holders === undefined) this.#holders.set(key, place);
    else if (typeof holders === 'number') this.#holders.set(key, [holders, place]);
    else holders.push(place);
  }

  /** The mirror, which held the key, does so no more. */
  delete(key: number, place: number): void {
    const holders = this.#holders.get(key);
    if (typeof holders !== 'object') {
      this.#holders.delete(key);
      return;
    }
    const last = holders.pop() ?? place;
    if (last !== place) holders[holders.indexOf(place)] = last;
    const [only] = holders;
    if (holders.length === 1 && only !== undefined) this.#holders.set(key, only);
  }

  /** How many blocks of the prompt, from its beginning, each mirror holds, by its place. Good until the next call. */
  knownBlocks({ keys }: Prefix): Int32Array {
    const known = this.#known.fill(0);
    for (let block = 0; block < keys.length; block++) {
      const holders = this.#holders.get(keys[block] ?? 0);
      if (holders === undefined || !advance(known, block, holders)) break;
    }
    return known;
  }
}

/** Notes who knows this block and all before it; false: nobody does. */
function advance(known: Int32Array, block: number, holders: number | readonly number[]): boolean {
  if (typeof holders === 'number') {
    if (known[holders] !== block) return false;
    known[holders] = block + 1;
    return true;
  }
  let any = false;
  for (let at = 0; at < holders.length; at++) {
    const place = holders[at] ?? 0;
    if (known[place] !== block) continue;
    known[place] = block + 1;
    any = true;
  }
  return any;
}
