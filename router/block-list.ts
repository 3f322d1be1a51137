import { IntMap } from './int-map.ts';

/** Until there are more blocks, when the places are doubled. */
const FIRST_PLACES = 64;

/**
 * Blocks by key, in the order of their last use. A Map keeps an order too, but to move one of its entries to the end is to delete and set it:
 * that leaves a hole, and every so many holes the whole Map is copied. Here a use changes a few numbers.
 */
export class BlockList {
  readonly #places = new IntMap();
  /** By place: the block, and its neighbours in the order of use. Place 0 is none: its neighbours are the two ends. */
  #keys = new Int32Array(FIRST_PLACES);
  #lengths = new Int32Array(FIRST_PLACES);
  #older = new Int32Array(FIRST_PLACES);
  #newer = new Int32Array(FIRST_PLACES);
  /** Places that are free, one behind the other by `#newer`; 0: none. */
  #free = 0;
  #used = 1;
  /** Of all blocks together. */
  #length = 0;

  get size(): number {
    return this.#places.size;
  }

  get length(): number {
    return this.#length;
  }

  has(key: number): boolean {
    return this.#places.get(key) !== 0;
  }

  keys(): Iterable<number> {
    return this.#places.keys();
  }

  /** Makes the block the newest. True: it was not there. */
  use(key: number, length: number): boolean {
    const known = this.#places.get(key);
    if (known !== 0) {
      this.#unlink(known);
      this.#link(known);
      return false;
    }
    const place = this.#take();
    this.#places.set(key, place);
    this.#keys[place] = key;
    this.#lengths[place] = length;
    this.#length += length;
    this.#link(place);
    return true;
  }

  /** Takes the longest unused block away and answers its key; null where there is none. */
  takeOldest(): number | null {
    const place = this.#newer[0] ?? 0;
    if (place === 0) return null;
    const key = this.#keys[place] ?? 0;
    this.#unlink(place);
    this.#places.delete(key);
    this.#length -= this.#lengths[place] ?? 0;
    this.#newer[place] = this.#free;
    this.#free = place;
    return key;
  }

  #take(): number {
    const free = this.#free;
    if (free !== 0) {
      this.#free = this.#newer[free] ?? 0;
      return free;
    }
    if (this.#used === this.#keys.length) this.#grow();
    return this.#used++;
  }

  #grow(): void {
    this.#keys = doubled(this.#keys);
    this.#lengths = doubled(this.#lengths);
    this.#older = doubled(this.#older);
    this.#newer = doubled(this.#newer);
  }

  #link(place: number): void {
    const newest = this.#older[0] ?? 0;
    this.#older[place] = newest;
    this.#newer[place] = 0;
    this.#newer[newest] = place;
    this.#older[0] = place;
  }

  #unlink(place: number): void {
    const older = this.#older[place] ?? 0;
    const newer = this.#newer[place] ?? 0;
    this.#newer[older] = newer;
    this.#older[newer] = older;
  }
}

function doubled(array: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(2 * array.length);
  larger.set(array);
  return larger;
}
