import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Queue } from './queue.ts';

test('whatever is pushed and shifted, the first one is the oldest that is left, as in an array', () => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.nat(), { nil: 'shift' as const })), (steps) => {
      const queue = new Queue<number>();
      const array: number[] = [];
      for (const step of steps) {
        if (step === 'shift') {
          queue.shift();
          array.shift();
        } else {
          queue.push(step);
          array.push(step);
        }
        expect(queue.first).toBe(array[0]);
      }
    }),
  );
});
