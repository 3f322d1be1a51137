/** Accounts, deposits and balances of the double-entry ledger. Calls never come here: they spend leases (leases.ts). */
import { v7 as uuidv7 } from 'uuid';
import type { Sql } from '../db/connect.ts';
import type { Nanousd } from './money.ts';
import { repeat } from './retry.ts';

const STATEMENT_LIMIT_MS = 10_000;

/** A deposit as booked, now or the first time that its reference came. `balance` is prepaid and leased money together. */
export interface Deposit {
  readonly txn: string;
  readonly balance: Nanousd;
}

export type DepositRefusal = { readonly code: 'account_not_found' } | { readonly code: 'reference_conflict' };

/** A new id such as `acct_0193…`: ordered by time, so that indexes grow at one end and lists have an order. */
export function newId(prefix: string): string {
  return `${prefix}_${uuidv7().replaceAll('-', '')}`;
}

/** Makes an agent with an empty prepaid account of the same id (`acct_…`). */
export async function createAgent(sql: Sql, agent: { name: string }): Promise<{ id: string; name: string }> {
  const id = newId('acct');
  await sql`
    with prepaid as (insert into account (id, kind, owner) values (${id}, 'prepaid', ${id}))
    insert into agent (id, name) values (${id}, ${agent.name})`;
  return { id, name: agent.name };
}

/** Makes an operator with an empty earnings account of the same id (`op_…`), who gets `sharePpm` millionths of each charge. */
export async function createOperator(
  sql: Sql,
  operator: { name: string; sharePpm: number },
): Promise<{ id: string; name: string; sharePpm: number }> {
  const id = newId('op');
  await sql`
    with earnings as (insert into account (id, kind, owner) values (${id}, 'earnings', ${id}))
    insert into operator (id, name, share_ppm) values (${id}, ${operator.name}, ${operator.sharePpm})`;
  return { id, ...operator };
}

/**
 * Moves money from the world to an agent. The same reference again changes nothing and answers the first deposit;
 * another amount under it is refused.
 */
export async function deposit(
  sql: Sql,
  request: { accountId: string; amount: Nanousd; reference: string },
): Promise<Deposit | DepositRefusal> {
  if (request.amount <= 0n) throw new RangeError('a deposit is more than nothing');
  const ref = `${request.accountId}:${request.reference}`;
  const [first] = await repeat(async () => {
    await postDeposit(sql, request, ref);
    // In a statement of its own: it also sees the deposit that another connection posted a moment ago.
    return sql<{ txn: string; amount: Nanousd }[]>`
        select t.id as txn, e.amount from txn t join entry e on e.txn_id = t.id and e.account_id = ${request.accountId}
        where t.kind = 'deposit' and t.ref = ${ref}`;
  }, STATEMENT_LIMIT_MS);
  if (first === undefined) return { code: 'account_not_found' };
  if (first.amount !== request.amount) return { code: 'reference_conflict' };
  const { prepaid, escrow } = await balances(sql, request.accountId);
  return { txn: first.txn, balance: prepaid + escrow };
}

function postDeposit(sql: Sql, { accountId, amount }: { accountId: string; amount: Nanousd }, ref: string) {
  return sql`
    with fresh as (
      insert into txn (id, kind, ref)
      select ${uuidv7()}, 'deposit', ${ref} from account where id = ${accountId} and kind = 'prepaid'
      on conflict (kind, ref) do nothing returning id
    ), movement (account_id, amount) as (
      values (${accountId}, ${amount}), ('world', ${-amount})
    ), posted as (
      insert into entry (txn_id, account_id, amount) select fresh.id, m.account_id, m.amount from fresh, movement m
    )
    update account a set balance = a.balance + m.amount from movement m
    where a.id = m.account_id and exists (select from fresh)`;
}

/** What an agent has in the database: `prepaid` is free, `escrow` is leased to gateways. Charges not yet settled are still in it. */
export async function balances(sql: Sql, accountId: string): Promise<{ prepaid: Nanousd; escrow: Nanousd }> {
  const [row] = await sql<{ prepaid: Nanousd; escrow: Nanousd }[]>`
    select coalesce(sum(balance) filter (where kind = 'prepaid'), 0)::bigint as prepaid,
      coalesce(sum(balance) filter (where kind = 'escrow'), 0)::bigint as escrow
    from account where owner = ${accountId}`;
  return row ?? { prepaid: 0n, escrow: 0n };
}

/** What an operator earned in all, what of it waits to be paid or is on its way, and what was paid. */
export async function earnings(
  sql: Sql,
  operatorId: string,
): Promise<{ earned: Nanousd; pending: Nanousd; paid: Nanousd }> {
  const [row] = await sql<{ pending: Nanousd; paid: Nanousd }[]>`
    select (a.balance + coalesce(sum(p.nanousd) filter (where p.state = 'pending'), 0))::bigint as pending,
      coalesce(sum(p.nanousd) filter (where p.state = 'paid'), 0)::bigint as paid
    from account a left join payout p on p.account_id = a.id
    where a.id = ${operatorId} and a.kind = 'earnings' group by a.id`;
  const { pending, paid } = row ?? { pending: 0n, paid: 0n };
  return { earned: pending + paid, pending, paid };
}
