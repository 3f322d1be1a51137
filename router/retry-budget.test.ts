import { expect, test } from 'vitest';
import { RetryBudget } from './retry-budget.ts';

const takes = (budget: RetryBudget, nowMs: number) => {
  let taken = 0;
  while (budget.take('tiny', nowMs)) taken += 1;
  return taken;
};

test('I27 a sick pool is not drowned in retries: ten a second, and one for each ten successes', () => {
  const budget = new RetryBudget();
  takes(budget, 0);
  expect(takes(budget, 0)).toBe(0);
  expect(takes(budget, 1_000)).toBe(10);
  for (let success = 0; success < 50; success += 1) budget.earn('tiny');
  expect(takes(budget, 1_000)).toBeGreaterThanOrEqual(4);
  expect(takes(budget, 1_000)).toBe(0);
  expect(budget.take('other', 1_000)).toBe(true);
});
