/** The states of a payment in Postgres: reserved → settling → settled, failed or unknown; unknown → settled or failed. Never back. */
import { v7 as uuidv7 } from 'uuid';
import type { Sql } from '../../db/connect.ts';
import { createAgent } from '../ledger.ts';
import type { Nanousd } from '../money.ts';
import { constraintOf, inTransaction } from '../retry.ts';
import type { Authorization, Hex } from './authorization.ts';

type PaymentState = 'reserved' | 'settling' | 'settled' | 'failed' | 'unknown';

export interface PaymentRow {
  readonly id: string;
  readonly state: PaymentState;
  /** The payer's CAIP-10 name. */
  readonly payer: string;
  readonly network: string;
  readonly authorization: Authorization;
  readonly nanousd: Nanousd;
  readonly accountId: string | null;
  readonly sinceBlock: bigint | null;
  readonly transaction: Hex | null;
  readonly reason: string | null;
}

export interface NewPayment {
  readonly id: string;
  readonly method: string;
  readonly network: string;
  readonly asset: Hex;
  readonly payer: string;
  readonly authorization: Authorization;
  readonly nanousd: Nanousd;
  readonly accountId: string | null;
}

/** Takes the place of a payment, before anybody looks at it. False when it, or a copy of it, was here before. */
export async function reserve(sql: Sql, payment: NewPayment): Promise<boolean> {
  const { id, method, network, asset, payer, authorization, nanousd, accountId } = payment;
  const { to, value, validAfter, validBefore, nonce, signature } = authorization;
  const rows = await sql`
    insert into payment (id, method, network, asset, payer, payee, value, nanousd, valid_after, valid_before, nonce, signature,
      account_id)
    values (${id}, ${method}, ${network}, ${asset.toLowerCase()}, ${payer}, ${to}, ${value}, ${nanousd}, ${validAfter},
      ${validBefore}, ${nonce}, ${signature}, ${accountId})
    on conflict (id) do nothing returning id`;
  return rows.length > 0;
}

/** Gateways with keys listen here: another one has entrusted a payment to them. */
export const ENTRUSTED = 'faregate_entrusted_payments';

/**
 * From here on it may be on the chain. False when another signature of the same authorization is there already. `entrusted`: whoever
 * asked for this has no key to send it with, and those that have one are told.
 */
export async function startSettling(
  sql: Sql,
  id: string,
  sinceBlock: bigint,
  { entrusted }: { entrusted: boolean },
): Promise<boolean> {
  try {
    const rows = await sql`
      update payment set state = 'settling', since_block = ${sinceBlock}, changed_at = now(),
        send_at = case when ${entrusted} then now() end
      where id = ${id} and state = 'reserved' returning case when ${entrusted} then pg_notify(${ENTRUSTED}, '') end`;
    return rows.length > 0;
  } catch (error) {
    if (constraintOf(error) === 'payment_authorization_once') return false;
    throw error;
  }
}

/** Seconds after which a payment that was taken, and is not settled, may be taken again: its taker may have stopped. */
const TAKEN_FOR = 15;

/** Entrusted payments to an address of ours, for this gateway to send now; sending one twice sends it once. */
export function takeEntrusted(
  sql: Sql,
  { network, payee, most }: { network: string; payee: Hex; most: number },
): Promise<PaymentRow[]> {
  const mine = sql`
    update payment set send_at = now() + ${TAKEN_FOR} * interval '1 second' where id in (
      select id from payment
      where send_at <= now() and state in ('settling', 'unknown') and network = ${network} and payee = ${payee.toLowerCase()}
        and valid_before > extract(epoch from now())
      order by send_at limit ${most} for update skip locked
    ) returning *`;
  return rowsOf(sql`with mine as (${mine}) select ${columns(sql)} from mine`);
}

/** How many payments are on their way, of one payer and of all. */
export async function onTheWay(sql: Sql, payer: string): Promise<{ own: bigint; all: bigint }> {
  const [row] = await sql<{ own: bigint; all: bigint }[]>`
    select count(*) filter (where payer = ${payer}) as own, count(*) as all
    from payment where state in ('reserved', 'settling')`;
  return row ?? { own: 0n, all: 0n };
}

/** It moved nothing and never will. */
export async function fail(sql: Sql, id: string, reason: string): Promise<void> {
  await sql`
    update payment set state = 'failed', reason = ${reason}, changed_at = now()
    where id = ${id} and state in ('reserved', 'settling', 'unknown')`;
}

/** It was sent, and what became of it is for the chain to say. */
export async function leaveUnknown(sql: Sql, id: string, reason: string): Promise<void> {
  await sql`
    update payment set state = 'unknown', reason = ${reason}, send_at = null, changed_at = now()
    where id = ${id} and (state = 'settling' or state = 'unknown' and send_at is not null)`;
}

/**
 * Its money arrived: credits the account, once. `claims`: for a request that waits; one that asks later is told so by `claim`. Answers the
 * payment, or null when somebody else credited it.
 */
export async function credit(
  sql: Sql,
  id: string,
  transaction: Hex,
  options: { claims: boolean },
): Promise<PaymentRow | null> {
  // Whoever pays waits for this: one statement, but for the first payment of a wallet.
  return (
    (await creditKnown(sql, id, transaction, options)) ??
    inTransaction(sql, async (tx) => {
      const [open] = await tx<{ payer: string }[]>`
        select payer from payment where id = ${id} and state in ('settling', 'unknown') for no key update`;
      if (open === undefined) return null;
      await walletAccount(tx, open.payer);
      return creditKnown(tx, id, transaction, options);
    })
  );
}

/** Credits an account that is there; null where it is not, and where the payment was credited before. */
async function creditKnown(
  sql: Sql,
  id: string,
  transaction: Hex,
  { claims }: { claims: boolean },
): Promise<PaymentRow | null> {
  const purpose = `payment:${id}`;
  // Its nonce is used, and its key has room again. Where the transfer came by another transaction, ours may still be under way.
  const [row] = await rowsOf(sql`
    with known as (
      select p.id, coalesce(p.account_id, w.account_id) as account_id
      from payment p left join wallet w on w.id = p.payer where p.id = ${id}
    ), settled as (
      update payment p set state = 'settled', account_id = k.account_id, transaction = ${transaction}, changed_at = now(),
        reason = null, claimed_at = case when ${claims} then now() end
      from known k where p.id = k.id and k.account_id is not null and p.state in ('settling', 'unknown')
      returning p.*
    ), mined as (
      update chain_transaction set state = 'mined'
      where purpose = ${purpose} and hash = ${transaction} and state = 'pending' and exists (select from settled)
    ), booked as (
      insert into txn (id, kind, ref) select ${uuidv7()}::uuid, 'deposit', ${purpose} from settled returning id
    ), movement (account_id, amount) as (
      select account_id, nanousd from settled union all select 'world', -nanousd from settled
    ), posted as (
      insert into entry (txn_id, account_id, amount) select booked.id, m.account_id, m.amount from booked, movement m
    ), locked as (
      select id from account where id in (select account_id from movement) order by id for no key update
    ), moved as (
      update account a set balance = a.balance + m.amount from movement m, locked where a.id = m.account_id and locked.id = a.id
    )
    select ${columns(sql)} from settled`);
  return row ?? null;
}

/** The one call that a settled payment lets in without a key. False when it was had. */
export async function claim(sql: Sql, id: string): Promise<boolean> {
  const rows = await sql`
    update payment set claimed_at = now() where id = ${id} and state = 'settled' and claimed_at is null returning id`;
  return rows.length > 0;
}

export async function findPayment(sql: Sql, id: string): Promise<PaymentRow | undefined> {
  const [row] = await select(sql, sql`id = ${id}`);
  return row;
}

/** Payments that nobody waits for or is to send any more, and the chain must decide, the oldest first. */
export function undecided(sql: Sql, network: string, idleMs: number): Promise<PaymentRow[]> {
  return select(
    sql,
    sql`network = ${network} and (state = 'unknown' or (state in ('reserved', 'settling')
      and changed_at < now() - ${idleMs} * interval '1 millisecond'))
      and (send_at is null or valid_before < extract(epoch from now())) order by changed_at limit 100`,
  );
}

/** Drops payments that failed and could not be made any more a day ago: they would be refused before anyone looks for them here. */
export async function forgetFailed(sql: Sql): Promise<void> {
  await sql`
    delete from payment where state = 'failed' and valid_before < extract(epoch from now() - interval '1 day')::bigint`;
}

/** The account of a wallet; null before its first money arrived. */
export async function accountOfWallet(sql: Sql, wallet: string): Promise<string | null> {
  const [known] = await sql<{ accountId: string }[]>`select account_id as "accountId" from wallet where id = ${wallet}`;
  return known?.accountId ?? null;
}

/** The account of a wallet, made when its first money arrives. */
async function walletAccount(tx: Sql, payer: string): Promise<string> {
  await tx`select pg_advisory_xact_lock(hashtextextended(${payer}, 0))`;
  const known = await accountOfWallet(tx, payer);
  if (known !== null) return known;
  const { id } = await createAgent(tx, { name: payer });
  await tx`insert into wallet (id, account_id) values (${payer}, ${id})`;
  return id;
}

function select(sql: Sql, where: ReturnType<Sql>): Promise<PaymentRow[]> {
  return rowsOf(sql`select ${columns(sql)} from payment where ${where}`);
}

function columns(sql: Sql) {
  return sql`id, state, payer, network, payee as "to", value, nanousd, valid_after as "validAfter", valid_before as "validBefore",
    nonce, signature, account_id as "accountId", since_block as "sinceBlock", transaction, reason`;
}

type FlatRow = Omit<PaymentRow, 'authorization'> & Omit<Authorization, 'from'>;

async function rowsOf(statement: PromiseLike<readonly object[]>): Promise<PaymentRow[]> {
  const rows = (await statement) as readonly FlatRow[];
  return rows.map(({ to, value, validAfter, validBefore, nonce, signature, ...row }) => {
    const from = row.payer.slice(row.payer.lastIndexOf(':') + 1) as Hex;
    return { ...row, authorization: { from, to, value, validAfter, validBefore, nonce, signature } };
  });
}
