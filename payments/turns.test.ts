import { expect, test } from 'vitest';
import { Turns } from './turns.ts';

test('no more than so many work at once, all in turn, and one that fails gives its place to the next', async () => {
  const turns = new Turns(2);
  const begun: number[] = [];
  const ends: PromiseWithResolvers<void>[] = [];
  const all = Array.from({ length: 5 }, (_, number) =>
    turns.take(() => {
      begun.push(number);
      const end = Promise.withResolvers<void>();
      ends.push(end);
      return end.promise;
    }),
  );
  const told = Promise.allSettled(all);
  expect(begun).toEqual([0, 1]);
  for (let number = 0; number < 5; number++) {
    if (number === 1) ends[number]?.reject(new Error('no'));
    else ends[number]?.resolve();
    await expect.poll(() => begun.length).toBe(number < 2 ? number + 3 : 5);
  }
  expect(begun).toEqual([0, 1, 2, 3, 4]);
  expect((await told).map(({ status }) => status)).toEqual([
    'fulfilled',
    'rejected',
    'fulfilled',
    'fulfilled',
    'fulfilled',
  ]);
});

test('so many run at once, in the order in which they came, whether those before them failed or not', async () => {
  const turns = new Turns(2);
  const begun: number[] = [];
  let running = 0;
  const works = Array.from({ length: 50 }, (_, number) =>
    turns.take(async () => {
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
  await turns.take(async () => {});
});
