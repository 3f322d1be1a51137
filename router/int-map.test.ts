import fc from 'fast-check';
import { expect, test } from 'vitest';
import { IntMap } from './int-map.ts';

test('whatever is set, set anew and deleted, it holds what a Map would', () => {
  // Few keys, so that they meet; and the ends of the range.
  const key = fc.oneof(fc.integer({ min: -40, max: 40 }), fc.constantFrom(-(2 ** 31), 2 ** 31 - 1));
  const step = fc.record({ key, value: fc.integer({ min: -3, max: 3 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
      const map = new IntMap();
      const model = new Map<number, number>();
      for (const { key, value } of steps) {
        for (const either of [map, model]) {
          if (value === 0) either.delete(key);
          else either.set(key, value);
        }
        expect(map.size).toBe(model.size);
      }
      for (let key = -41; key <= 41; key++) expect(map.get(key)).toBe(model.get(key) ?? 0);
      expect([...map.keys()].sort()).toEqual([...model.keys()].sort());
    }),
  );
});

test('a hundred thousand keys come and go, and none is lost or left behind', () => {
  const map = new IntMap();
  const keyOf = (n: number) => Math.imul(n, 0x01000193);
  for (let n = 1; n <= 100_000; n++) {
    map.set(keyOf(n), n);
    if (n > 1_000) map.delete(keyOf(n - 1_000));
  }
  expect(map.size).toBe(1_000);
  for (let n = 1; n <= 100_000; n++) expect(map.get(keyOf(n))).toBe(n > 99_000 ? n : 0);
});
