/**
 * What leases.ts says to the database: each movement of lease money is one guarded statement that may be sent again. All of them, and
 * the settle statement, lock rows in one order, so that none waits for another in a circle: leases, accounts, budgets, each by id. A
 * part that locks counts the rows of the part before it: only that makes Postgres finish the one before it begins the other.
 */
import { v7 as uuidv7 } from 'uuid';
import type { Sql } from '../db/connect.ts';
import { leftNow, textArray } from './budgets.ts';
import type { Nanousd } from './money.ts';
import type { GrantSize } from './purse.ts';
import { repeat } from './retry.ts';

/** Which life of which gateway holds the leases. The database refuses money to an older life. */
export interface Holder {
  readonly instanceId: string;
  readonly epoch: number;
}

/** A lease that is not renewed may be spent for this long. */
export const LEASE_MS = 600_000;
/** The longest call, its grace, and a margin: only then nobody can be spending from a lease that has run out. */
const RECLAIM_AFTER_MS = 720_000;

/** Whose money a lease holds, and for whom. */
export interface LeaseOf {
  readonly leaseId: string;
  readonly accountId: string;
  readonly budgets: readonly string[];
}

const LIMIT_MS = 10_000;
const LEASES_PER_RETURN = 1_000;

type Fragment = ReturnType<typeof expiry>;

interface GrantRow {
  /** Whether the holder's epoch is the instance's present one. */
  readonly current: boolean;
  /** False when the lease was closed meanwhile. */
  readonly open: boolean;
  readonly granted: Nanousd;
  /** What is left to lease: in the prepaid account, and within all budgets. */
  readonly left: Nanousd;
  /** The budget that binds, where it is not the account. */
  readonly budget: string | null;
}

/**
 * Moves prepaid money to the lease's escrow in one guarded statement: nothing when it is less than the least that is of use,
 * at least the need where it is there, and beyond the need at most half of the rest, in whole calls (crumbs would serve
 * nobody), or none when the rest is a few calls. What is there is the least of the account and its budgets, which all count the
 * lease. The same txn id again moves nothing.
 * The share lock on the instance lets no grant slip past the start of the next epoch.
 */
export async function grant(
  sql: Sql,
  holder: Holder,
  { accountId, leaseId, budgets }: LeaseOf,
  asked: GrantSize,
  txnId: string,
): Promise<GrantRow> {
  const [row] = await sql<GrantRow[]>`
    with current as (
      select id from instance where id = ${holder.instanceId} and epoch = ${holder.epoch} for share
    ), mine as (
      select l.state from lease l, current where l.id = ${leaseId} for no key update of l
    ), fence as (
      select id from current where not exists (select from mine where state <> 'open')
    ), locked as (
      select a.id, a.balance from account a, fence where a.id in (${accountId}, ${leaseId}) and a.kind in ('prepaid', 'escrow')
      order by a.id for no key update of a
    ), prepaid as (
      select balance from locked where id = ${accountId}
    ), bound as (
      select b.id, b.leased, ${leftNow(sql)} as left
      from budget b, (select count(*) from locked) accounts
      where b.id = any(${textArray(budgets)}::text[]) order by b.id for no key update of b
    ), there as (
      select least(p.balance, (select min(bound.left) from bound)) as balance from prepaid p
    ), rest as (
      select balance, balance - ${asked.need.toString()}::numeric as rest, greatest(${asked.call.toString()}::numeric, 1) as call
      from there
    ), beyond as (
      select balance, balance - rest as need, call,
        case when rest < 4 * call then 0 else least(rest / 2, ${asked.extra.toString()}::numeric) end as extra
      from rest
    ), size as (
      select case when balance < ${asked.least.toString()}::numeric then 0
        else least(balance, need + extra - mod(extra, call)) end::bigint as amount
      from beyond
    ), fresh as (
      insert into txn (id, kind) select ${txnId}::uuid, 'grant' from size where amount > 0
      on conflict (id) do nothing returning id
    ), moved as (
      -- From the balance as locked: the check on balances is made on the row that the statement saw when it began.
      update account a set balance = p.balance - s.amount from size s, prepaid p
      where a.id = ${accountId} and exists (select from fresh)
    ), counted as (
      update budget b set leased = bound.leased + s.amount from size s, bound
      where b.id = bound.id and exists (select from fresh)
    ), escrow as (
      insert into account (id, kind, owner, balance)
      select ${leaseId}, 'escrow', ${accountId}, s.amount from size s, fresh
      on conflict (id) do update set balance = account.balance + excluded.balance
    ), leased as (
      insert into lease (id, instance_id, epoch, account_id, budgets, granted, expires_at)
      select ${leaseId}, ${holder.instanceId}, ${holder.epoch}, ${accountId}, nullif(${textArray(budgets)}::text[], '{}'),
        s.amount, ${expiry(sql)}
      from size s, fresh
      on conflict (id) do update
        set state = 'open', granted = lease.granted + excluded.granted, expires_at = excluded.expires_at
      returning granted
    ), posted as (
      insert into entry (txn_id, account_id, amount)
      select fresh.id, side.account_id, side.amount from fresh, size s,
        lateral (values (${accountId}, -s.amount), (${leaseId}, s.amount)) as side (account_id, amount)
    )
    select exists (select from current) as current, exists (select from fence) as open,
      coalesce((select granted from leased), (select granted from lease where id = ${leaseId}), 0) as granted,
      coalesce((select balance from there) - coalesce((select s.amount from size s, fresh), 0), 0) as left,
      (select bound.id from bound, prepaid p where bound.left < p.balance order by bound.left limit 1) as budget`;
  if (row === undefined) throw new Error('a grant answers one row');
  return row;
}

function expiry(sql: Sql) {
  return sql`now() + ${LEASE_MS} * interval '1 millisecond'`;
}

/**
 * Moves an amount from the lease's escrow back to the prepaid account and answers all recalls so far. Closes the lease when
 * that empties it: nothing is held from it then and all of its calls are settled. One that was never granted counts as closed.
 * The same txn id again moves nothing.
 */
export async function giveBack(
  sql: Sql,
  holder: Holder,
  leaseId: string,
  { txnId, amount }: { txnId: string; amount: Nanousd },
): Promise<{ closed: boolean }> {
  const [row] = await sql<{ closed: boolean }[]>`
    with mine as (
      select l.id, l.account_id, l.budgets from lease l
      where l.id = ${leaseId} and l.state = 'open' and l.instance_id = ${holder.instanceId} and l.epoch = ${holder.epoch}
      for no key update
    ), locked as (
      select a.id, a.balance from account a, mine where a.id in (mine.account_id, mine.id) order by a.id for no key update of a
    ), fresh as (
      insert into txn (id, kind) select ${txnId}::uuid, 'return' from mine where ${amount}::bigint > 0
      on conflict (id) do nothing returning id
    ), moved as (
      select coalesce((select ${amount}::bigint from fresh), 0) as amount
    ), given as (
      update lease l set answered = l.recalled, granted = l.granted - m.amount,
        state = case when e.balance = m.amount then 'closed' else 'open' end
      from moved m, mine, locked e where l.id = mine.id and e.id = mine.id
      returning l.state
    ), movement as (
      select mine.id as account_id, -m.amount as amount from mine, moved m where m.amount > 0
      union all
      select mine.account_id, m.amount from mine, moved m where m.amount > 0
    ), posted as (
      insert into entry (txn_id, account_id, amount) select fresh.id, m.account_id, m.amount from fresh, movement m
    ), balanced as (
      update account a set balance = l.balance + m.amount from movement m, locked l
      where a.id = m.account_id and l.id = a.id
    ), bound as (
      select b.id from budget b, mine, (select count(*) from locked) accounts
      where b.id = any(mine.budgets) order by b.id for no key update of b
    ), uncounted as (
      update budget b set leased = b.leased - m.amount from moved m, bound where b.id = bound.id and m.amount > 0
    )
    select coalesce((select state from given), (select state from lease where id = ${leaseId}), 'closed') = 'closed' as closed`;
  return { closed: row?.closed ?? false };
}

/** Prolongs those of the holder's leases that are still open; `recalled` tells of a call that was not heard. */
export function renew(sql: Sql, holder: Holder, leases: readonly string[]) {
  return sql<{ id: string; recalled: boolean }[]>`
    update lease set expires_at = ${expiry(sql)}
    where id in ${sql(leases)} and state = 'open' and instance_id = ${holder.instanceId} and epoch = ${holder.epoch}
    returning id, recalled > answered as recalled`;
}

/** Whether there is something to reclaim. */
export async function reclaimable(sql: Sql): Promise<boolean> {
  const rows = await repeat(
    () => sql`select from lease where state = 'open' and ${ranOutLongAgo(sql)} limit 1`,
    LIMIT_MS,
  );
  return rows.length > 0;
}

/** Closes leases that ran out so long ago that nobody can be spending them, and returns what is left in them. */
export async function reclaimLeases(sql: Sql): Promise<void> {
  await returnAll(sql, ranOutLongAgo(sql));
}

function ranOutLongAgo(sql: Sql) {
  return sql`expires_at < now() - ${RECLAIM_AFTER_MS} * interval '1 millisecond'`;
}

/**
 * Closes all leases of an instance's epochs before this one and returns what is left in them. To be called when all calls
 * of those epochs are settled.
 */
export async function returnLeases(sql: Sql, instanceId: string, beforeEpoch: number): Promise<void> {
  await returnAll(sql, sql`instance_id = ${instanceId} and epoch < ${beforeEpoch}`);
}

async function returnAll(sql: Sql, due: Fragment): Promise<void> {
  let closed: number;
  do {
    const [row] = await repeat(() => returnStatement(sql, due), LIMIT_MS);
    closed = row?.closed ?? 0;
  } while (closed > 0);
}

function returnStatement(sql: Sql, due: Fragment) {
  return sql<{ closed: number }[]>`
    with due as (
      select l.id, l.account_id, l.budgets, a.balance from lease l join account a on a.id = l.id
      where ${due} and l.state = 'open' order by l.id limit ${LEASES_PER_RETURN} for no key update
    ), closed as (
      update lease l set state = 'closed', granted = l.granted - due.balance from due where l.id = due.id
    ), residue as (
      select id, account_id, budgets, balance from due where balance > 0
    ), movement as (
      select id as account_id, -balance as amount from residue
      union all
      select account_id, sum(balance)::bigint from residue group by account_id
    ), fresh as (
      insert into txn (id, kind) select ${uuidv7()}::uuid, 'return' where exists (select from residue) returning id
    ), posted as (
      insert into entry (txn_id, account_id, amount) select fresh.id, m.account_id, m.amount from fresh, movement m
    ), moved as (
      update account a set balance = a.balance + m.amount from movement m where a.id = m.account_id
    ), uncounted as (
      update budget b set leased = b.leased - back.amount
      from (select budget, sum(balance)::bigint as amount from residue r, unnest(r.budgets) as budget group by 1) back
      where b.id = back.budget
    )
    select count(*)::int as closed from due`;
}
