import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BlockList } from './block-list.ts';

test('after any mix of uses and takings the blocks, their length and their order are those of a plain list', () => {
  const step = fc.oneof(
    fc.record({ key: fc.nat(200), length: fc.integer({ min: 1, max: 9 }) }),
    fc.constant('take' as const),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 600 }), (steps) => {
      const blocks = new BlockList();
      const plain = new Map<number, number>();
      for (const one of steps) {
        if (one === 'take') {
          const oldest = plain.keys().next().value ?? null;
          expect(blocks.takeOldest()).toBe(oldest);
          if (oldest !== null) plain.delete(oldest);
          continue;
        }
        const before = plain.get(one.key);
        expect(blocks.use(one.key, one.length)).toBe(before === undefined);
        plain.delete(one.key);
        plain.set(one.key, before ?? one.length);
      }
      expect(blocks.size).toBe(plain.size);
      expect(blocks.length).toBe([...plain.values()].reduce((sum, length) => sum + length, 0));
      expect(Array.from(plain, () => blocks.takeOldest())).toEqual([...plain.keys()]);
    }),
  );
});
