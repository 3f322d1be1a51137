/**
 * Channels in Postgres. Whoever changes one says which version of it was looked at: of two who would use the same state one succeeds, by
 * the lock on its row. Money moves in the statement that counts it.
 */
import { v7 as uuidv7 } from 'uuid';
import type { Sql } from '../../db/connect.ts';
import { createAgent } from '../ledger.ts';
import type { Hex } from '../methods/authorization.ts';
import type { Nanousd } from '../money.ts';
import { inTransaction } from '../retry.ts';
import { transfer } from '../transfer.ts';
import { nanousdOf } from '../units.ts';
import type { ChannelState } from './contract.ts';
import type { ChannelConfig, Voucher } from './typed-data.ts';

export interface ChannelRow extends ChannelState {
  readonly id: Hex;
  readonly config: ChannelConfig;
  readonly accountId: string;
  /** Of the voucher with the highest ceiling; without a signature there was none. */
  readonly ceiling: bigint;
  readonly signature: Hex | null;
  /** What the payer was told that it has spent: its next voucher begins here. */
  readonly announced: bigint;
  /** What vouchers brought into the account, in all. */
  readonly credited: Nanousd;
  readonly spent: Nanousd;
  /** The request in flight; null: none, or one whose gateway is gone. */
  readonly requestId: string | null;
  readonly version: bigint;
  /** Since the chain was asked. */
  readonly syncedMs: bigint;
}

/** A request that a channel pays, as it begins. */
export interface ChannelRequest {
  readonly id: string;
  readonly voucher: Voucher;
  /** The most that the payer may be told, when the answer is there. */
  readonly announces: bigint;
  readonly creditedAfter: Nanousd;
  /** How long its gateway stands for it before it must say so again. */
  readonly standsMs: number;
}

/** What became of a request. */
export interface Outcome {
  readonly charged: Nanousd;
  readonly announced: bigint;
}

/**
 * One channel. Where a gateway died in a request, the most that this one can have cost is taken as spent and told: what it really cost
 * the account knows.
 */
export async function findChannel(sql: Sql, id: Hex): Promise<ChannelRow | undefined> {
  const [row] = await sql<ChannelRow[]>`select ${columns(sql)} from channel c where id = ${id}`;
  return row;
}

/** Notes a channel as it is on the chain, with a new account of its own. One that is known changes only by what the chain says. */
export async function openChannel(
  sql: Sql,
  channel: { id: Hex; network: string; payer: string; config: ChannelConfig; state: ChannelState },
): Promise<void> {
  const { id, network, payer, config, state } = channel;
  if (await syncChannel(sql, id, state)) return;
  const { balance, claimed, refundNonce, withdrawRequestedAt } = state;
  const opened = nanousdOf(claimed);
  await inTransaction(sql, async (tx) => {
    await tx`select pg_advisory_xact_lock(hashtextextended(${id}, 0))`;
    const [known] = await tx`select from channel where id = ${id}`;
    if (known !== undefined) return;
    const account = await createAgent(tx, { name: `channel ${id} of ${payer}` });
    await tx`
      insert into channel (id, network, payer, config, account_id, balance_units, claimed_units, refund_nonce,
        withdraw_requested_at, announced_units, opened_nanousd, credited_nanousd, spent_nanousd)
      values (${id}, ${network}, ${payer}, ${JSON.stringify(config)}::text::jsonb, ${account.id}, ${balance}, ${claimed},
        ${refundNonce}, ${withdrawRequestedAt}, ${claimed}, ${opened}, ${opened}, ${opened})`;
  });
}

/** Notes what the chain says. False where the channel is not known. */
export async function syncChannel(sql: Sql, id: Hex, state: ChannelState): Promise<boolean> {
  const { balance, claimed, refundNonce, withdrawRequestedAt } = state;
  const rows = await sql`
    update channel set balance_units = ${balance}, claimed_units = greatest(claimed_units, ${claimed}),
      refund_nonce = ${refundNonce}, withdraw_requested_at = ${withdrawRequestedAt}, synced_at = now()
    where id = ${id} returning id`;
  return rows.length > 0;
}

/** Takes the channel for a request and credits its account, both or nothing. False when somebody changed it meanwhile. */
export async function beginRequest(sql: Sql, row: ChannelRow, request: ChannelRequest): Promise<boolean> {
  const { id, voucher, announces, creditedAfter, standsMs } = request;
  const highest = voucher.ceiling > row.ceiling ? voucher : row;
  const rows = await sql`
    with mine as (
      update channel set version = version + 1, request_id = ${id}::uuid, request_announced_units = ${announces},
        request_until = now() + ${standsMs} * interval '1 millisecond', announced_units = ${row.announced},
        spent_nanousd = ${row.spent}, credited_nanousd = ${creditedAfter}, signed_units = ${highest.ceiling},
        signature = ${highest.signature}
      where id = ${row.id} and version = ${row.version} and (request_id is null or request_until < now()) returning account_id
    ), movement (account_id, amount) as (
      select account_id, ${creditedAfter - row.credited}::bigint from mine
      union all select 'world', ${row.credited - creditedAfter}::bigint from mine
    ), posting as (
      insert into txn (id, kind, ref)
      select ${uuidv7()}::uuid, 'deposit', ${`channel:${row.id}:${id}`} from mine where ${creditedAfter}::bigint > ${row.credited}::bigint
      returning id
    ), posted as (
      insert into entry (txn_id, account_id, amount) select p.id, m.account_id, m.amount from posting p, movement m
    ), locked as (
      select a.id from account a, posting where a.id in (select account_id from movement) order by a.id for no key update of a
    ), moved as (
      update account a set balance = a.balance + m.amount from movement m, locked where a.id = m.account_id and locked.id = a.id
    )
    select account_id from mine`;
  return rows.length > 0;
}

/** Frees the channel. Without an outcome all is as before the request but its money, which waits in the account for the next. */
export async function endRequest(sql: Sql, id: Hex, requestId: string, outcome: Outcome | null): Promise<void> {
  await sql`
    update channel set version = version + 1, request_id = null, request_until = null, request_announced_units = null,
      spent_nanousd = least(credited_nanousd, spent_nanousd + ${outcome?.charged ?? 0n}),
      announced_units = coalesce(${outcome?.announced ?? null}::bigint, announced_units)
    where id = ${id} and request_id = ${requestId}::uuid`;
}

/** Stands for requests in flight a while longer. */
export async function renewRequests(sql: Sql, requestIds: readonly string[], standsMs: number): Promise<void> {
  await sql`
    update channel set request_until = now() + ${standsMs} * interval '1 millisecond'
    where request_id in (select jsonb_array_elements_text(${JSON.stringify(requestIds)}::text::jsonb)::uuid)`;
}

/**
 * Takes what no call was charged of a channel's credit out of its account again, for a request that has the channel. Null while some of it
 * is leased or not settled; else what is left, which is what its calls were charged.
 */
export async function takeUnspent(tx: Sql, id: Hex, requestId: string): Promise<Nanousd | null> {
  const [row] = await tx<{ accountId: string; credited: Nanousd; prepaid: Nanousd; escrow: Nanousd }[]>`
    select c.account_id as "accountId", c.credited_nanousd as credited, a.balance as prepaid,
      (select coalesce(sum(balance), 0)::bigint from account e where e.owner = c.account_id and e.kind = 'escrow') as escrow
    from channel c join account a on a.id = c.account_id
    where c.id = ${id} and c.request_id = ${requestId}::uuid for no key update of c, a`;
  if (row === undefined || row.escrow > 0n) return null;
  const { accountId, credited, prepaid } = row;
  const spent = credited - prepaid;
  await tx`
    update channel set credited_nanousd = ${spent}, spent_nanousd = ${spent}, version = version + 1 where id = ${id}`;
  if (prepaid === 0n) return spent;
  await transfer(tx, {
    kind: 'unspent',
    ref: `channel:${id}:${requestId}`,
    from: accountId,
    to: 'world',
    amount: prepaid,
  });
  return spent;
}

export function columns(sql: Sql) {
  // A request whose gateway no longer stands for it is over.
  const lost = sql`c.request_id is not null and c.request_until < now()`;
  return sql`c.id, c.config, c.account_id as "accountId", c.balance_units as balance, c.claimed_units as claimed,
    c.refund_nonce as "refundNonce", c.withdraw_requested_at as "withdrawRequestedAt", c.signed_units as ceiling, c.signature,
    case when ${lost} then c.request_announced_units else c.announced_units end as announced,
    c.credited_nanousd as credited, case when ${lost} then c.credited_nanousd else c.spent_nanousd end as spent,
    case when ${lost} then null else c.request_id end as "requestId", c.version::bigint as version,
    (extract(epoch from now() - c.synced_at) * 1000)::bigint as "syncedMs"`;
}
