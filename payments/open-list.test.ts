import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Entry, OpenList } from './open-list.ts';

test('whatever is added and removed in whatever order, the rest is there in the order of adding', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(5)), (steps) => {
      const list = new OpenList<number>();
      let expected: number[] = [];
      const entries = new Map<number, Entry<number>>();
      steps.forEach((step, index) => {
        const victim = expected[step];
        const entry = victim === undefined ? undefined : entries.get(victim);
        if (entry === undefined) {
          entries.set(index, list.add(index));
          expected.push(index);
        } else {
          list.remove(entry);
          list.remove(entry);
          expected = expected.filter((one) => one !== victim);
        }
        expect([...list]).toEqual(expected);
        expect(list.size).toBe(expected.length);
      });
    }),
  );
});

test('what is at hand may be removed on the way through the list', () => {
  const list = new OpenList<string>();
  const entries = new Map(['a', 'b', 'c'].map((item) => [item, list.add(item)]));
  const seen: string[] = [];
  for (const item of list) {
    seen.push(item);
    const entry = entries.get(item);
    if (entry !== undefined) list.remove(entry);
  }
  expect(seen).toEqual(['a', 'b', 'c']);
  expect(list.size).toBe(0);
});
