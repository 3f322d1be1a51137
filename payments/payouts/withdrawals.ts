/** Withdrawals: an agent's money back to the wallet that it came from. What calls hold, or may still need, is never paid out. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sql } from '../../db/connect.ts';
import type { Nanousd } from '../money.ts';
import { recall } from '../recall-statements.ts';
import { inTransaction, repeat } from '../retry.ts';
import { nanousdOf, unitsWithin } from '../units.ts';
import { bookPayout, type Payout, payoutOf, type Treasury } from './booking.ts';

export interface WithdrawalRequest {
  readonly accountId: string;
  /** Null: all that is free. */
  readonly amount: Nanousd | null;
  /** The same reference of an account again changes nothing. */
  readonly reference: string;
}

export type WithdrawalRefusal =
  | { readonly code: 'no_wallet' }
  | { readonly code: 'reference_conflict' }
  | { readonly code: 'below_minimum'; readonly minimum: Nanousd; readonly available: Nanousd }
  | { readonly code: 'insufficient_balance'; readonly available: Nanousd };

const STATEMENT_LIMIT_MS = 10_000;
/** Gateways have about a second to give back what their calls do not hold, in pauses that double. Most need milliseconds. */
const RECALL_POLL_MS = 5;
const RECALL_PAUSE_MAX_MS = 640;
/** No lease has this id: all of them are asked. */
const NO_LEASE = 'withdrawal';
const EVERYTHING = 2n ** 63n;

/**
 * Books a withdrawal in whole units; what is less than one stays in the account. Money that gateways have leased and do not use is
 * called back first.
 */
export async function bookWithdrawal(
  sql: Sql,
  treasury: Treasury,
  request: WithdrawalRequest,
  minimum: Nanousd,
): Promise<Payout | WithdrawalRefusal> {
  const attempt = () =>
    repeat(() => inTransaction(sql, (tx) => bookOnce(tx, treasury, request, minimum)), STATEMENT_LIMIT_MS);
  if (request.amount !== null) {
    const booked = await attempt();
    if (!('code' in booked) || booked.code !== 'insufficient_balance') return booked;
  }
  await callBack(sql, request.accountId);
  return attempt();
}

async function bookOnce(
  tx: Sql,
  treasury: Treasury,
  { accountId, amount, reference }: WithdrawalRequest,
  minimum: Nanousd,
): Promise<Payout | WithdrawalRefusal> {
  const [account] = await tx<{ available: Nanousd; payee: string | null }[]>`
    select a.balance as available, (
      select substr(w.id, length(${treasury.network}) + 2) from wallet w
      where w.account_id = a.id and starts_with(w.id, ${`${treasury.network}:`})
    ) as payee
    from account a where a.id = ${accountId} and a.kind = 'prepaid' for no key update of a`;
  const payee = account?.payee ?? null;
  if (account === undefined || payee === null) return { code: 'no_wallet' };
  const { available } = account;
  const wanted = nanousdOf(unitsWithin(amount ?? available));
  const first = await payoutOf(tx, accountId, reference);
  if (first !== undefined) {
    return amount === null || first.amount === wanted ? first : { code: 'reference_conflict' };
  }
  if (wanted > available) return { code: 'insufficient_balance', available };
  if (wanted < minimum || wanted === 0n) return { code: 'below_minimum', minimum, available };
  return bookPayout(tx, treasury, { kind: 'withdrawal', accountId, payee, amount: wanted, reference });
}

/** Asks every gateway for what it has leased of the account and does not use, and waits until all have answered, or a good second. */
export async function callBack(sql: Sql, accountId: string): Promise<void> {
  await repeat(() => recall(sql, { leaseId: NO_LEASE, accountId, budgets: [] }, EVERYTHING), STATEMENT_LIMIT_MS);
  for (let pauseMs = RECALL_POLL_MS; pauseMs <= RECALL_PAUSE_MAX_MS; pauseMs *= 2) {
    // Not only what this call asked: another withdrawal may have asked just now.
    const [waiting] = await repeat(
      () => sql`select from lease where account_id = ${accountId} and state = 'open' and answered < recalled limit 1`,
      STATEMENT_LIMIT_MS,
    );
    if (waiting === undefined) return;
    await sleep(pauseMs);
  }
}
