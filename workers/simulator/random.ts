/** A seeded source of randomness: the same seed gives the same numbers. */
export type Random = () => number;

/** Numbers in [0, 1) from a 32-bit seed (the mulberry32 mixing steps). */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

/** A 53-bit hash that chains: `hashIds(ids, before)` depends on all ids and on what came before. */
export function hashIds(ids: ArrayLike<number>, before = 0, from = 0, to = ids.length): number {
  let low = (before % 0x1_0000_0000) ^ 0x811c9dc5;
  let high = Math.floor(before / 0x1_0000_0000) ^ 0x9e3779b9;
  for (let at = from; at < to; at += 1) {
    const id = ids[at] ?? 0;
    low = Math.imul(low ^ id, 0x01000193) ^ (high >>> 13);
    high = Math.imul(high ^ id, 0x85ebca6b) ^ (low >>> 7);
  }
  return (high & 0x1f_ffff) * 0x1_0000_0000 + (low >>> 0);
}

/** The hash of a text, by its UTF-16 units. */
export function hashText(text: string): number {
  return hashIds(Uint16Array.from(text, (_, at) => text.charCodeAt(at)));
}

/** A whole number in [from, to]. */
export function randomInteger(random: Random, from: number, to: number): number {
  return from + Math.floor(random() * (to - from + 1));
}

/** One of the items; the list must not be empty. */
export function pickOne<T>(random: Random, items: readonly [T, ...T[]] | readonly T[]): T {
  const item = items[Math.floor(random() * items.length)];
  if (item === undefined) {
    throw new Error('pickOne needs at least one item');
  }
  return item;
}

/** Random lower-case hexadecimal digits. */
export function randomHex(random: Random, digits: number): string {
  let text = '';
  while (text.length < digits) {
    text += Math.floor(random() * 0x1_0000_0000)
      .toString(16)
      .padStart(8, '0');
  }
  return text.slice(0, digits);
}
