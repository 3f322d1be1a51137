import { expect, test } from 'vitest';
import { Turns } from './turns.ts';

test('so many run at once, in the order in which they came, whether those before them failed or not', async () => {
  const turns = new Turns(2);
  const begun: number[] = [];
  let running = 0;
  const works = Array.from({ length: 50 }, (_, number) =>
    turns.run(async () => {
      begun.push(number);
      running += 1;
      expect(running).toBeLessThanOrEqual(2);
      await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
      if (number % 3 === 0) throw new Error('failed');
    }),
  );
  const ended = await Promise.allSettled(works);
  expect(begun).toEqual(Array.from({ length: 50 }, (_, number) => number));
  expect(ended.filter(({ status }) => status === 'rejected')).toHaveLength(17);
  await turns.run(async () => {});
});
