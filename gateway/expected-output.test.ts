import { expect, test } from 'vitest';
import { ExpectedOutput } from './expected-output.ts';

test('the expected length is that of three answers in five, and never more than asked for', () => {
  const expected = new ExpectedOutput();
  expect(expected.of('acct', 'tiny', 20)).toBe(20);
  for (let answer = 0; answer < 1_000; answer++) expected.learn('acct', 'tiny', (answer % 10) * 10 + 5);
  expect(expected.of('acct', 'tiny', 1_000)).toBeGreaterThan(45);
  expect(expected.of('acct', 'tiny', 1_000)).toBeLessThan(75);
  expect(expected.of('acct', 'tiny', 30)).toBe(30);
  expect(expected.of('other', 'tiny', 1_000)).toBe(new ExpectedOutput().of('other', 'tiny', 1_000));
});
