/**
 * Money on its way out of the ledger: account → payout_pending when it is booked, then → world once the chain has paid it, or back to
 * the account once the chain can pay it no more. What the chain did is found out in chain/; here each step is made at most once.
 */
import { v7 as uuidv7 } from 'uuid';
import type { Sql } from '../../db/connect.ts';
import { isoTime } from '../../db/time.ts';
import { newId } from '../ledger.ts';
import type { Nanousd } from '../money.ts';
import { inTransaction } from '../retry.ts';

type PayoutState = 'pending' | 'paid' | 'returned';

export interface Payout {
  readonly id: string;
  readonly accountId: string;
  readonly reference: string;
  readonly network: string;
  readonly asset: string;
  readonly payer: string;
  readonly payee: string;
  readonly amount: Nanousd;
  /** Seconds since 1970. */
  readonly validBefore: bigint;
  readonly state: PayoutState;
  /** The hash of the transaction that paid it. */
  readonly transaction: string | null;
  /** What last stood in its way. */
  readonly reason: string | null;
  readonly createdAt: string;
  readonly settledAt: string | null;
}

/** Where payouts leave from. */
export interface Treasury {
  /** By CAIP-2. */
  readonly network: string;
  /** Addresses, in lower case. */
  readonly asset: string;
  readonly address: string;
}

export interface PayoutOrder {
  readonly kind: 'withdrawal' | 'payout';
  readonly accountId: string;
  readonly payee: string;
  readonly amount: Nanousd;
  readonly reference: string;
}

/** Longer than any congestion, short enough to wait for: then an unpaid payout goes back to its account. */
const VALID_SECONDS = 3_600;
const NOT_IN_TIME = 'the chain did not carry it out in time';

/**
 * Takes the money out of the account and notes where it goes. To be called in a transaction that has locked the account and seen
 * that the money is there.
 */
export async function bookPayout(tx: Sql, treasury: Treasury, order: PayoutOrder): Promise<Payout> {
  const id = newId('po');
  const [row] = await tx<Payout[]>`
    with fresh as (
      insert into payout as p (id, account_id, reference, network, asset, payer, payee, nanousd, valid_before)
      values (${id}, ${order.accountId}, ${order.reference}, ${treasury.network}, ${treasury.asset}, ${treasury.address},
        ${order.payee}, ${order.amount}, extract(epoch from now())::bigint + ${VALID_SECONDS})
      returning ${columns(tx)}
    ), posting as (
      insert into txn (id, kind, ref) values (${uuidv7()}, ${order.kind}, ${`${order.accountId}:${id}`}) returning id
    ), movement (account_id, amount) as (
      values (${order.accountId}, ${-order.amount}::bigint), ('payout_pending', ${order.amount}::bigint)
    ), posted as (
      insert into entry (txn_id, account_id, amount) select posting.id, m.account_id, m.amount from posting, movement m
    ), moved as (
      update account a set balance = a.balance + m.amount from movement m where a.id = m.account_id
    )
    select * from fresh`;
  if (row === undefined) throw new Error('a payout was not stored');
  return row;
}

/** The payout of a reference, where there is one. */
export async function payoutOf(sql: Sql, accountId: string, reference: string): Promise<Payout | undefined> {
  const [row] = await sql<Payout[]>`
    select ${columns(sql)} from payout p where p.account_id = ${accountId} and p.reference = ${reference}`;
  return row;
}

/** One payout of an account. */
export async function getPayout(sql: Sql, accountId: string, id: string): Promise<Payout | undefined> {
  const [row] = await sql<Payout[]>`
    select ${columns(sql)} from payout p where p.account_id = ${accountId} and p.id = ${id}`;
  return row;
}

/** Payouts of one account, or of all operators, the newest first; `after` is the id of the last one seen. */
export function listPayouts(
  sql: Sql,
  accountId: string | null,
  { limit, after }: { limit: number; after: string | null },
): PromiseLike<Payout[]> {
  const whose = accountId === null ? sql`p.account_id like 'op\_%'` : sql`p.account_id = ${accountId}`;
  return sql<Payout[]>`
    select ${columns(sql)} from payout p
    where ${whose} and (${after}::text is null or p.id < ${after}) order by p.id desc limit ${limit}`;
}

/** Books that the chain paid it, in this transaction. False when that, or its return, was booked before. */
export function settlePayout(sql: Sql, id: string, transaction: string): Promise<boolean> {
  return close(sql, id, 'paid', transaction);
}

/** Gives the money back to its account: only for what the chain will never pay. False when it was closed before. */
export function returnPayout(sql: Sql, id: string): Promise<boolean> {
  return close(sql, id, 'returned', null);
}

function close(sql: Sql, id: string, state: 'paid' | 'returned', transaction: string | null): Promise<boolean> {
  return inTransaction(sql, async (tx) => {
    const [closed] = await tx<{ accountId: string; amount: Nanousd }[]>`
      update payout set state = ${state}, transaction = ${transaction}, settled_at = now(),
        reason = case when ${state} = 'returned' then coalesce(reason, ${NOT_IN_TIME}) end
      where id = ${id} and state = 'pending' returning account_id as "accountId", nanousd as amount`;
    if (closed === undefined) return false;
    const receiver = state === 'paid' ? 'world' : closed.accountId;
    // In the order of their ids, as everybody locks accounts.
    await tx`select from account where id in ('payout_pending', ${receiver}) order by id for no key update`;
    await tx`
      with posting as (
        insert into txn (id, kind, ref) values (${uuidv7()}, ${`payout_${state}`}, ${`${closed.accountId}:${id}`}) returning id
      ), movement (account_id, amount) as (
        values ('payout_pending', ${-closed.amount}::bigint), (${receiver}, ${closed.amount}::bigint)
      ), posted as (
        insert into entry (txn_id, account_id, amount) select posting.id, m.account_id, m.amount from posting, movement m
      )
      update account a set balance = a.balance + m.amount from movement m where a.id = m.account_id`;
    return true;
  });
}

function columns(sql: Sql) {
  return sql`p.id, p.account_id as "accountId", p.reference, p.network, p.asset, p.payer, p.payee, p.nanousd as amount,
    p.valid_before as "validBefore", p.state, p.transaction, p.reason, ${isoTime(sql, sql`p.created_at`)} as "createdAt",
    ${isoTime(sql, sql`p.settled_at`)} as "settledAt"`;
}
