/** How requests give a key a budget. */
import { z } from 'zod';
import type { Budget } from '../payments/budgets.ts';
import { amount } from './route-schemas.ts';

const YEAR_SECONDS = 366 * 86_400;

export const budgetOptions = {
  budget_nanousd: amount
    .optional()
    .describe('what the key and all keys made of it may spend; without it, what you may'),
  budget_window_seconds: z
    .int()
    .min(1)
    .max(YEAR_SECONDS)
    .optional()
    .describe('the budget is for each window of so many seconds, counted from 1970; without it, for ever'),
};

interface BudgetFields {
  readonly budget_nanousd?: bigint | undefined;
  readonly budget_window_seconds?: number | undefined;
}

/** Refuses a window without a budget. */
export function wholeBudget<Body extends z.ZodType<BudgetFields>>(body: Body): Body {
  return body.refine(
    ({ budget_nanousd: limit, budget_window_seconds: seconds }) => limit !== undefined || seconds === undefined,
    {
      path: ['budget_nanousd'],
      error: 'a window needs a budget',
    },
  );
}

export function budgetOf({ budget_nanousd: limit, budget_window_seconds: seconds }: BudgetFields): Budget | null {
  return limit === undefined ? null : { limit, windowSeconds: seconds ?? null };
}
