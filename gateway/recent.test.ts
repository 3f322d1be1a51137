import { expect, test } from 'vitest';
import { recent } from './recent.ts';

test('within the time everybody gets one answer, and a failure is asked again at once', async () => {
  let nowMs = 0;
  let asked = 0;
  let fails = false;
  const ask = recent(
    1_000,
    () => nowMs,
    async () => {
      asked++;
      if (fails) throw new Error('away');
      return asked;
    },
  );
  expect(await Promise.all([ask(), ask(), ask()])).toEqual([1, 1, 1]);
  nowMs = 999;
  expect(await ask()).toBe(1);
  nowMs = 1_000;
  expect(await ask()).toBe(2);
  nowMs = 2_000;
  fails = true;
  await expect(ask()).rejects.toThrow('away');
  fails = false;
  expect(await ask()).toBe(4);
});
