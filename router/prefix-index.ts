/**
 * Which workers' prefix mirrors hold a block, for all workers at once: one look per block tells how far each of them knows a prompt, where
 * asking each mirror would miss the processor's caches a hundred times. It holds what the mirrors hold and nothing else; their limits are its.
 */
import type { Prefix } from './prefix.ts';

/** Keys are spread over so many maps, a power of two: a map of millions moves all of them when it has seen enough come and go, for half a second. */
const PARTS = 64;

/** By key: the place of the one mirror that holds it, or of each of several. */
type Holders = Map<number, number | number[]>;

export class PrefixIndex {
  readonly #parts: readonly Holders[] = Array.from({ length: PARTS }, (): Holders => new Map());
  readonly #free: number[] = [];
  #places = 0;
  #known = new Int32Array(0);

  /** Keys that some mirror holds. */
  get size(): number {
    return this.#parts.reduce((sum, { size }) => sum + size, 0);
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
    const part = this.#partOf(key);
    const holders = part.get(key);
    if (holders === undefined) part.set(key, place);
    else if (typeof holders === 'number') part.set(key, [holders, place]);
    else holders.push(place);
  }

  /** The mirror, which held the key, does so no more. */
  delete(key: number, place: number): void {
    const part = this.#partOf(key);
    const holders = part.get(key);
    if (typeof holders !== 'object') {
      part.delete(key);
      return;
    }
    const last = holders.pop() ?? place;
    if (last !== place) holders[holders.indexOf(place)] = last;
    const [only] = holders;
    if (holders.length === 1 && only !== undefined) part.set(key, only);
  }

  /** How many blocks of the prompt, from its beginning, each mirror holds, by its place. Good until the next call. */
  knownBlocks({ keys }: Prefix): Int32Array {
    const known = this.#known.fill(0);
    for (let block = 0; block < keys.length; block++) {
      const key = keys[block] ?? 0;
      const holders = this.#partOf(key).get(key);
      if (holders === undefined || !advance(known, block, holders)) break;
    }
    return known;
  }

  #partOf(key: number): Holders {
    return this.#parts[key & (PARTS - 1)] ?? new Map();
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
