import { expect, test } from 'vitest';
import { ExpectedOutput } from './expected-output.ts';

test('the expected length is that of three answers in five, and never more than asked for', () => {
  const expected = new ExpectedOutput();
  const length = expected.of('acct', 'tiny');
  expect(length.within(20)).toBe(20);
  for (let answer = 0; answer < 1_000; answer++) length.learn((answer % 10) * 10 + 5);
  expect(length.within(1_000)).toBeGreaterThan(45);
  expect(length.within(1_000)).toBeLessThan(75);
  expect(length.within(30)).toBe(30);
  expect(expected.of('acct', 'tiny')).toBe(length);
  expect(expected.of('other', 'tiny').within(1_000)).toBe(new ExpectedOutput().of('other', 'tiny').within(1_000));
});
