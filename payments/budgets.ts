/**
 * Budgets: what a key and all keys below it may spend, in all or per window. Money is leased under every budget in the line of keys
 * at once (lease-statements.ts), so no number of gateways can exceed any of them; a call counts in the window that it is settled in.
 */
import type { Sql } from '../db/connect.ts';
import type { Nanousd } from './money.ts';

export interface Budget {
  readonly limit: Nanousd;
  /** Windows of this length begin at multiples of it since 1970; null: the limit is for ever. */
  readonly windowSeconds: number | null;
}

/** Gives a key its budget, once. */
export async function createBudget(sql: Sql, keyId: string, { limit, windowSeconds }: Budget): Promise<void> {
  await sql`
    insert into budget (id, limit_nanousd, window_seconds, window_index)
    values (${keyId}, ${limit}, ${windowSeconds}, budget_window(${windowSeconds}))`;
}

/** What was settled of the budget `b` in the present window. */
export function spentNow(sql: Sql) {
  return sql`case when b.window_index < budget_window(b.window_seconds) then 0 else b.spent end`;
}

/** What of the budget `b` can still be leased. */
export function leftNow(sql: Sql) {
  return sql`case when b.window_index < budget_window(b.window_seconds) then b.limit_nanousd - b.leased
    else b.limit_nanousd + b.overrun - b.spent - b.leased end`;
}

/** Ids as the literal of a Postgres array; they consist of letters, digits and underscores. */
export function textArray(ids: readonly string[]): string {
  return `{${ids.join(',')}}`;
}
