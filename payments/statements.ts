/**
 * Statements: what moved an agent's or an operator's money in a period, in the order in which it was posted, between the balance before
 * and the balance after. The balances come from the ledger's entries, the lines from the calls and refunds themselves: that they agree is
 * asserted by the first query and again when the last line was read.
 */
import type { Sql } from '../db/connect.ts';
import { isoTime } from '../db/time.ts';
import type { Nanousd } from './money.ts';

export interface StatementLine {
  /** UTC, ISO 8601 with milliseconds. */
  readonly at: string;
  /** `opening` and `closing` move nothing and frame the others. */
  readonly kind:
    | 'opening'
    | 'closing'
    | 'deposit'
    | 'charge'
    | 'earning'
    | 'refund'
    | 'withdrawal'
    | 'payout'
    /** A withdrawal or payout that the chain did not carry out. */
    | 'returned'
    /** What a channel was credited and its calls did not cost, taken back when it is refunded. */
    | 'unspent'
    | 'adjustment';
  readonly amount: Nanousd;
  /** After this line. */
  readonly balance: Nanousd;
  readonly txn: string | null;
  readonly call: string | null;
  readonly model: string | null;
  readonly promptTokens: number | null;
  readonly cachedTokens: number | null;
  readonly completionTokens: number | null;
  readonly reference: string | null;
  readonly reason: string | null;
  /** On the chain. */
  readonly transaction: string | null;
}

export interface Period {
  /** An agent's account, or an operator's earnings. */
  readonly accountId: string;
  /** Included; ISO 8601. */
  readonly from: string;
  /** Not included. */
  readonly to: string;
}

type Movement = Omit<StatementLine, 'balance'>;

const LINES_AT_ONCE = 500;

/**
 * The moment up to which all that was posted can be seen: from then on a posting may still be under way. What a statement says of
 * the time before never changes again.
 */
export async function settledUntil(sql: Sql): Promise<string> {
  const [row] = await sql<{ at: string }[]>`
    select ${isoTime(sql, sql`min(xact_start)`)} as at from pg_stat_activity
    where datname = current_database() and backend_type = 'client backend' and xact_start > now() - interval '1 minute'`;
  if (row === undefined) throw new Error('an aggregate without a row');
  return row.at;
}

/**
 * The lines of a period that ends no later than `settledUntil`, some at a time, never all in memory. They hold one connection and
 * one view of the database until they are read or returned. Throws when they do not lead from the opening to the closing balance.
 */
export async function* statementLines(sql: Sql, period: Period): AsyncGenerator<readonly StatementLine[]> {
  const connection = await sql.reserve();
  try {
    await connection`begin isolation level repeatable read read only`;
    const { opening, closing } = await balancesOf(connection, period);
    yield [frame('opening', period.from, opening)];
    let balance = opening;
    for await (const movements of movementsOf(connection, period)) {
      yield movements.map((movement) => {
        balance += movement.amount;
        return { ...movement, balance };
      });
    }
    if (balance !== closing) throw new Error(`a statement ends at ${balance} in place of ${closing}`);
    yield [frame('closing', period.to, closing)];
  } finally {
    await connection`rollback`.catch(() => {});
    connection.release();
  }
}

async function balancesOf(sql: Sql, { accountId, from, to }: Period): Promise<{ opening: Nanousd; closing: Nanousd }> {
  const { whose, amount } = callsOf(sql, accountId);
  const [row] = await sql<{ opening: Nanousd; closing: Nanousd; balanced: boolean }[]>`
    with posted as (
      select t.kind, t.at, e.amount
      from account a join entry e on e.account_id = a.id join txn t on t.id = e.txn_id
      where a.owner = ${accountId} and t.at < ${to}::timestamptz
    ), known as (
      select coalesce(sum(amount) filter (where at < ${from}::timestamptz), 0) as opening, coalesce(sum(amount), 0) as closing,
        coalesce(sum(amount) filter (where at >= ${from}::timestamptz and kind <> 'settle'), 0) as others
      from posted
    ), called as (
      select coalesce(sum(${amount}), 0) as total from call
      where ${whose} = ${accountId} and settled_at >= ${from}::timestamptz and settled_at < ${to}::timestamptz
    )
    select opening::bigint, closing::bigint, opening + others + total = closing as balanced from known, called`;
  if (row?.balanced !== true) throw new Error(`the calls and entries of ${accountId} do not agree`);
  return row;
}

function movementsOf(sql: Sql, { accountId, from, to }: Period): AsyncIterable<readonly Movement[]> {
  const { whose, amount, kind } = callsOf(sql, accountId);
  return sql<Movement[]>`
    with movement as (
      select settled_at as at, ${kind} as kind, ${amount} as amount, null::uuid as txn, id as call, model,
        prompt_tokens, cached_tokens, completion_tokens, null as reference, null as reason, null as transaction
      from call
      where ${whose} = ${accountId} and ${amount} <> 0
        and settled_at >= ${from}::timestamptz and settled_at < ${to}::timestamptz
      union all
      select t.at, case t.kind when 'grant' then 'adjustment' when 'return' then 'adjustment'
          when 'payout_returned' then 'returned' else t.kind end,
        sum(e.amount)::bigint, t.id, r.call_id, null, null, null, null,
        coalesce(r.reference, case when starts_with(t.ref, ${accountId} || ':') then substr(t.ref, length(${accountId}) + 2) else t.ref end),
        coalesce(r.reason, case t.kind when 'payout_returned' then out.reason end), coalesce(out.transaction, paid.transaction)
      from account a join entry e on e.account_id = a.id join txn t on t.id = e.txn_id left join refund r on r.txn_id = t.id
        left join payout out on t.kind in ('withdrawal', 'payout', 'payout_returned') and out.id = split_part(t.ref, ':', 2)
        left join payment paid on t.kind = 'deposit' and paid.id = case when t.ref like 'payment:%' then split_part(t.ref, ':', 2) end
      where a.owner = ${accountId} and t.kind <> 'settle' and t.at >= ${from}::timestamptz and t.at < ${to}::timestamptz
      group by t.id, r.txn_id, out.id, paid.id having sum(e.amount) <> 0
    )
    select ${isoTime(sql, sql`m.at`)} as at, kind, amount, txn, call, model, prompt_tokens as "promptTokens",
      cached_tokens as "cachedTokens", completion_tokens as "completionTokens", reference, reason, transaction
    from movement m order by m.at, txn, call`.cursor(LINES_AT_ONCE);
}

/** An agent is charged for its calls, an operator earns by those that its workers served. */
function callsOf(sql: Sql, accountId: string) {
  return accountId.startsWith('op_')
    ? { whose: sql`operator_id`, amount: sql`operator_nanousd`, kind: sql`'earning'` }
    : { whose: sql`account_id`, amount: sql`-charged_nanousd`, kind: sql`'charge'` };
}

function frame(kind: 'opening' | 'closing', at: string, balance: Nanousd): StatementLine {
  return {
    at,
    kind,
    amount: 0n,
    balance,
    txn: null,
    call: null,
    model: null,
    promptTokens: null,
    cachedTokens: null,
    completionTokens: null,
    reference: null,
    reason: null,
    transaction: null,
  };
}
