/**
 * Which workers' prefix mirrors hold a block, for all workers at once: one look per block tells how far each of them knows a prompt, where
 * asking each mirror would miss the processor's caches a hundred times. It holds what the mirrors hold and nothing else; their limits are its.
 */
import { IntMap } from './int-map.ts';
import type { Prefix } from './prefix.ts';

/** Keys are spread over so many maps, a power of two: one of millions would take many milliseconds to grow. */
const PARTS = 64;

export class PrefixIndex {
  /** By key: of the one mirror that holds it, its place + 1; of several, −1 − where they stand in `#several`. */
  readonly #parts: readonly IntMap[] = Array.from({ length: PARTS }, () => new IntMap());
  readonly #several: number[][] = [];
  /** Of `#several`, those that are empty. */
  readonly #empty: number[] = [];
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
    const held = part.get(key);
    if (held === 0) part.set(key, place + 1);
    else if (held > 0) part.set(key, this.#gather(held - 1, place));
    else this.#severalOf(held).push(place);
  }

  /** The mirror, which held the key, does so no more. */
  delete(key: number, place: number): void {
    const part = this.#partOf(key);
    const held = part.get(key);
    if (held >= 0) {
      part.delete(key);
      return;
    }
    const holders = this.#severalOf(held);
    const last = holders.pop() ?? place;
    if (last !== place) holders[holders.indexOf(place)] = last;
    if (holders.length > 1) return;
    part.set(key, (holders.pop() ?? 0) + 1);
    this.#empty.push(-held - 1);
  }

  /** How many blocks of the prompt, from its beginning, each mirror holds, by its place. Good until the next call. */
  knownBlocks({ keys }: Prefix): Int32Array {
    const known = this.#known.fill(0);
    for (let block = 0; block < keys.length; block++) {
      const key = keys[block] ?? 0;
      const held = this.#partOf(key).get(key);
      if (held === 0) break;
      const any = held > 0 ? advance(known, block, held - 1) : advanceAny(known, block, this.#severalOf(held));
      if (!any) break;
    }
    return known;
  }

  #gather(one: number, other: number): number {
    const at = this.#empty.pop() ?? this.#several.push([]) - 1;
    this.#several[at]?.push(one, other);
    return -at - 1;
  }

  #severalOf(held: number): number[] {
    return this.#several[-held - 1] ?? [];
  }

  #partOf(key: number): IntMap {
    return this.#parts[key & (PARTS - 1)] ?? new IntMap();
  }
}

/** Notes that the mirror knows this block, if it knows all before it; false: it does not. */
function advance(known: Int32Array, block: number, place: number): boolean {
  if (known[place] !== block) return false;
  known[place] = block + 1;
  return true;
}

function advanceAny(known: Int32Array, block: number, holders: readonly number[]): boolean {
  let any = false;
  for (let at = 0; at < holders.length; at++) if (advance(known, block, holders[at] ?? 0)) any = true;
  return any;
}
