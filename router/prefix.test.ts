import { Buffer } from 'node:buffer';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PrefixMirror, prefixOf } from './prefix.ts';

const text = (bytes: number, seed = 1) =>
  Buffer.from(Array.from({ length: bytes }, (_, at) => (at * 31 + seed * 97 + ((at / 1_024) | 0)) % 251));

function mirrorOf(tokens = 1_000_000): PrefixMirror {
  const mirror = new PrefixMirror();
  mirror.resize(tokens);
  return mirror;
}

test('a longer prompt with the same beginning is known as far as the shorter one went', () => {
  const mirror = mirrorOf();
  mirror.add(prefixOf('t', [text(8_192)]));
  const longer = Buffer.concat([text(8_192), text(8_192, 2)]);
  expect(mirror.knownShare(prefixOf('t', [longer]))).toBeCloseTo(0.5);
  expect(mirror.knownShare(prefixOf('t', [text(8_192)]))).toBeCloseTo(1);
});

test('I22 a block counts only behind the same beginning: equal middles of unlike prompts are not known', () => {
  const mirror = mirrorOf();
  mirror.add(prefixOf('t', [Buffer.concat([text(1_024, 1), text(4_096, 5)])]));
  expect(mirror.knownShare(prefixOf('t', [Buffer.concat([text(1_024, 2), text(4_096, 5)])]))).toBe(0);
  fc.assert(
    fc.property(fc.nat(4_095), (at) => {
      const other = text(8_192);
      other[at] = (other[at] ?? 0) ^ 1;
      const known = mirrorOf();
      known.add(prefixOf('t', [text(8_192)]));
      expect(known.knownShare(prefixOf('t', [other])) * 8_192).toBeLessThanOrEqual(at);
    }),
  );
});

test('what one tenant sent is unknown for another', () => {
  const mirror = mirrorOf();
  mirror.add(prefixOf('one', [text(8_192)]));
  expect(mirror.knownShare(prefixOf('other', [text(8_192)]))).toBe(0);
});

test('tools in front of a conversation are part of its beginning', () => {
  const mirror = mirrorOf();
  mirror.add(prefixOf('t', [text(700), text(4_096, 3)]));
  expect(mirror.knownShare(prefixOf('t', [text(700), text(4_096, 3)]))).toBeGreaterThan(0.8);
  expect(mirror.knownShare(prefixOf('t', [text(701), text(4_096, 3)]))).toBeLessThan(0.2);
});

test('R11, I9 memory is bounded: the longest unused prompts are forgotten, from their end on', () => {
  const mirror = mirrorOf((100 * 256) / 0.8);
  const first = prefixOf('t', [text(20 * 1_024)]);
  mirror.add(first);
  for (let prompt = 2; prompt < 200; prompt += 1) {
    mirror.add(prefixOf('t', [text(4 * 1_024, prompt)]));
    expect(mirror.size).toBeLessThanOrEqual(100);
    if (prompt === 22) expect(mirror.knownShare(first)).toBeGreaterThan(0);
    if (prompt === 22) expect(mirror.knownShare(first)).toBeLessThan(1);
  }
  expect(mirror.knownShare(first)).toBe(0);
});

test('a worker that twice knew far less than expected has lost its cache', () => {
  const mirror = mirrorOf();
  const prefix = prefixOf('t', [text(8_192)]);
  mirror.add(prefix);
  mirror.correct(2_000, 0);
  mirror.correct(2_000, 1_900);
  mirror.correct(2_000, 100);
  expect(mirror.knownShare(prefix)).toBeCloseTo(1);
  mirror.correct(2_000, 100);
  expect(mirror.knownShare(prefix)).toBe(0);
});
