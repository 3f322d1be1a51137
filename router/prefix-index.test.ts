import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Prefix, PrefixMirror } from './prefix.ts';
import { PrefixIndex } from './prefix-index.ts';

const chain = (...keys: number[]): Prefix => ({
  keys: Int32Array.from(keys),
  ends: Int32Array.from(keys, (_, index) => (index + 1) * 1_024),
  length: keys.length * 1_024,
});
/** Small numbers, so that chains share beginnings, and mirrors so small that they forget. */
const chains = fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 6 }).map((keys) => {
  // As in a real chain, a key stands for all before it too.
  return chain(...keys.map((_, at) => keys.slice(0, at + 1).reduce((sum, key) => sum * 10 + key + 1, 0)));
});
const MIRRORS = 4;

test('R11 one look-up for all workers finds what each one’s mirror would: whatever is sent, forgotten, cleared or removed', () => {
  const step = fc.record({
    kind: fc.constantFrom('add', 'add', 'add', 'clear', 'resize', 'leave'),
    mirror: fc.nat(MIRRORS - 1),
    prefix: chains,
    asked: chains,
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const index = new PrefixIndex();
      const fresh = () => {
        const mirror = new PrefixMirror(index);
        mirror.resize((10 * 256) / 0.8);
        return mirror;
      };
      const mirrors = Array.from({ length: MIRRORS }, fresh);
      for (const { kind, mirror: at, prefix, asked } of steps) {
        const mirror = mirrors[at] ?? fresh();
        if (kind === 'add') mirror.add(prefix);
        else if (kind === 'clear') mirror.clear();
        else if (kind === 'resize') mirror.resize((5 * 256) / 0.8);
        else {
          mirror.leave();
          mirrors[at] = fresh();
        }
        const known = index.knownBlocks(asked);
        for (const one of mirrors) expect(known[one.place]).toBe(one.knownBlocks(asked));
      }
      for (const mirror of mirrors) mirror.leave();
      expect(index.size).toBe(0);
    }),
  );
});

test('a worker that comes later takes the place of one that left, and knows nothing of what that one was sent', () => {
  const index = new PrefixIndex();
  const [gone, stays] = [new PrefixMirror(index), new PrefixMirror(index)];
  for (const mirror of [gone, stays]) mirror.resize(1_000_000);
  const prompt = chain(1, 2, 3);
  gone.add(prompt);
  stays.add(prompt);
  const { place } = gone;
  gone.leave();
  const next = new PrefixMirror(index);
  expect(next.place).toBe(place);
  expect([...index.knownBlocks(prompt)].slice(0, 2)).toEqual([0, 3]);
  // Calls that still run there may tell it something, and nobody else hears of it.
  gone.add(prompt);
  expect(index.knownBlocks(prompt)[next.place]).toBe(0);
});
