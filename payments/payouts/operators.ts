/** Payouts to operators: what they earned, once it is old enough that no refund should still take from it. */
import type { Sql } from '../../db/connect.ts';
import type { Nanousd } from '../money.ts';
import { inTransaction, repeat } from '../retry.ts';
import { nanousdOf, unitsWithin } from '../units.ts';
import { bookPayout, type Payout, payoutOf, type Treasury } from './booking.ts';

export interface PayoutPolicy {
  /** Earnings younger than this wait. */
  readonly holdBackSeconds: number;
  /** Less is not worth its gas: it waits for more. */
  readonly minimum: Nanousd;
}

export interface Payable {
  /** Earned too recently. */
  readonly heldBack: Nanousd;
  readonly payable: Nanousd;
}

export type PayoutRefusal =
  | { readonly code: 'no_operator' }
  | { readonly code: 'no_address' }
  | { readonly code: 'below_minimum'; readonly payable: Nanousd };

const STATEMENT_LIMIT_MS = 10_000;

/**
 * Books the payout of all that an operator may have now, in whole units; the rest stays earned. The same reference again answers
 * the first payout.
 */
export function bookOperatorPayout(
  sql: Sql,
  treasury: Treasury,
  { operatorId, reference }: { operatorId: string; reference: string },
  policy: PayoutPolicy,
): Promise<Payout | PayoutRefusal> {
  const book = async (tx: Sql): Promise<Payout | PayoutRefusal> => {
    const [operator] = await tx<{ payee: string | null; balance: Nanousd }[]>`
      select o.payout_address as payee, a.balance from operator o join account a on a.id = o.id
      where o.id = ${operatorId} for no key update of a`;
    if (operator === undefined) return { code: 'no_operator' };
    const first = await payoutOf(tx, operatorId, reference);
    if (first !== undefined) return first;
    if (operator.payee === null) return { code: 'no_address' };
    const { payable } = await payableOf(tx, operatorId, policy);
    const amount = nanousdOf(unitsWithin(payable));
    if (amount === 0n || amount < policy.minimum) return { code: 'below_minimum', payable };
    return bookPayout(tx, treasury, {
      kind: 'payout',
      accountId: operatorId,
      payee: operator.payee,
      amount,
      reference,
    });
  };
  return repeat(() => inTransaction(sql, book), STATEMENT_LIMIT_MS);
}

/** What of an operator's earnings may be paid out now. Refunds that came meanwhile are counted against what is old enough. */
export async function payableOf(
  sql: Sql,
  operatorId: string,
  { holdBackSeconds }: Pick<PayoutPolicy, 'holdBackSeconds'>,
): Promise<Payable> {
  // A txn's id begins with its time, and entries are found by it: those of the window are read and no others.
  const [row] = await sql<Payable[]>`
    with youngest as (
      select coalesce(sum(e.amount), 0)::bigint as amount from entry e join txn t on t.id = e.txn_id
      where e.account_id = ${operatorId} and t.kind = 'settle'
        and e.txn_id >= (lpad(to_hex((extract(epoch from now() - ${holdBackSeconds} * interval '1 second') * 1000)::bigint), 12, '0')
          || '00000000000000000000')::uuid
    )
    select least(a.balance, y.amount) as "heldBack", greatest(a.balance - y.amount, 0) as payable
    from account a, youngest y where a.id = ${operatorId} and a.kind = 'earnings'`;
  return row ?? { heldBack: 0n, payable: 0n };
}

/** The operators that have told where to pay to, and have earned something. */
export async function payableOperators(sql: Sql): Promise<string[]> {
  const rows = await sql<{ id: string }[]>`
    select o.id from operator o join account a on a.id = o.id
    where o.payout_address is not null and a.balance > 0 order by o.id`;
  return rows.map(({ id }) => id);
}

/** Says where an operator's payouts go from now on. */
export async function setPayoutAddress(sql: Sql, operatorId: string, address: string): Promise<void> {
  await sql`update operator set payout_address = ${address} where id = ${operatorId}`;
}

/** Where an operator's payouts go; null: nowhere yet. */
export async function payoutAddressOf(sql: Sql, operatorId: string): Promise<string | null> {
  const [row] = await sql<{ address: string | null }[]>`
    select payout_address as address from operator where id = ${operatorId}`;
  return row?.address ?? null;
}
