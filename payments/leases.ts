/**
 * Leases: slices of agents' money that this instance may spend in memory. A lease is a real transfer from the prepaid
 * account to an escrow account of the lease's id, so the sum of all leases can never exceed what was deposited.
 */
import { v7 as uuidv7 } from 'uuid';
import type { Sql } from '../db/connect.ts';
import { newId } from './ledger.ts';
import type { Nanousd } from './money.ts';
import { type GrantSize, Purse } from './purse.ts';
import { isTransient, repeat } from './retry.ts';

export type Refusal =
  | { readonly code: 'insufficient_balance'; readonly available: Nanousd }
  | { readonly code: 'ledger_unavailable'; readonly retryAfterMs: number };

export type AgentPurse = Purse<Refusal>;

/** Which life of which gateway holds the leases. The database refuses money to an older life. */
export interface Holder {
  readonly instanceId: string;
  readonly epoch: number;
}

/** A grant is tried for this long before those who wait for it are told that the ledger is away. */
const GRANT_LIMIT_MS = 2_000;
const RETRY_AFTER_MS = 1_000;
/** After a failed grant nobody asks in advance for this long. */
const PREFETCH_PAUSE_MS = 500;
const RETURN_LIMIT_MS = 10_000;
const LEASES_PER_RETURN = 1_000;

export class Leases {
  readonly #sql: Sql;
  readonly #holder: Holder;
  readonly #now: () => number;
  readonly #report: (error: unknown) => void;
  readonly #purses = new Map<string, AgentPurse>();
  readonly #granting = new Set<AgentPurse>();
  #prefetchFromMs = 0;
  /** True once a younger life of this instance has begun: this one gets no more money. */
  fenced = false;

  /** `report` hears of errors that are no mere absence of the database. */
  constructor(options: { sql: Sql; holder: Holder; now: () => number; report: (error: unknown) => void }) {
    this.#sql = options.sql;
    this.#holder = options.holder;
    this.#now = options.now;
    this.#report = options.report;
  }

  /** Takes from the account's purse at once, or answers null: then `obtain` waits for a grant. */
  take(accountId: string, amount: Nanousd): AgentPurse | null {
    const purse = this.#purseOf(accountId);
    if (!purse.take(amount)) return null;
    if (purse.isLow && this.#now() >= this.#prefetchFromMs) this.#replenish(purse);
    return purse;
  }

  /** Takes after the next grants, in turn with the others who wait; a refusal tells what is there at most. */
  async obtain(accountId: string, amount: Nanousd): Promise<AgentPurse | Refusal> {
    const purse = this.#purseOf(accountId);
    const outcome = purse.wait(amount);
    this.#replenish(purse);
    const taken = await outcome;
    return taken === true ? purse : taken;
  }

  /** What the account's calls in flight hold here. */
  heldBy(accountId: string): Nanousd {
    return this.#purses.get(accountId)?.held ?? 0n;
  }

  #purseOf(accountId: string): AgentPurse {
    const known = this.#purses.get(accountId);
    if (known !== undefined) return known;
    const purse: AgentPurse = new Purse(accountId, newId('lse'), this.#now());
    this.#purses.set(accountId, purse);
    return purse;
  }

  #replenish(purse: AgentPurse): void {
    if (this.#granting.has(purse)) return;
    this.#granting.add(purse);
    void this.#grantWhileNeeded(purse).finally(() => {
      this.#granting.delete(purse);
      // Someone may have begun to wait between the last look and now.
      if (purse.hasWaiters) this.#replenish(purse);
    });
  }

  async #grantWhileNeeded(purse: AgentPurse): Promise<void> {
    do {
      const asked = purse.nextGrant(this.#now());
      const grant = await this.#grant(purse, asked);
      if (grant === null) {
        this.#prefetchFromMs = this.#now() + PREFETCH_PAUSE_MS;
        purse.refuseAll({ code: 'ledger_unavailable', retryAfterMs: RETRY_AFTER_MS });
        return;
      }
      purse.receive({ ...grant, asked, nowMs: this.#now() }, (available) => ({
        code: 'insufficient_balance',
        available,
      }));
    } while (purse.hasWaiters);
  }

  /** Null when the ledger is away or refuses this life of the instance. */
  async #grant(purse: AgentPurse, asked: GrantSize): Promise<{ granted: Nanousd; left: Nanousd } | null> {
    if (this.fenced) return null;
    const txnId = uuidv7();
    try {
      const [row] = await repeat(() => grantStatement(this.#sql, this.#holder, purse, asked, txnId), GRANT_LIMIT_MS);
      if (row === undefined) throw new Error('a grant answers one row');
      this.fenced = !row.current;
      return row.current ? row : null;
    } catch (error) {
      if (!isTransient(error)) this.#report(error);
      return null;
    }
  }
}

interface GrantRow {
  /** Whether the holder's epoch is the instance's present one. */
  readonly current: boolean;
  /** The total of the lease's grants. */
  readonly granted: Nanousd;
  /** What is left in the prepaid account. */
  readonly left: Nanousd;
}

/**
 * Moves prepaid money to the lease's escrow in one guarded statement: nothing when it is less than the least that is of use,
 * at least the need where it is there, and beyond the need at most half of the rest, in whole calls (crumbs would serve
 * nobody), or none when the rest is a few calls. The same txn id again moves nothing.
 * The share lock on the instance lets no grant slip past the start of the next epoch.
 */
function grantStatement(sql: Sql, holder: Holder, purse: AgentPurse, asked: GrantSize, txnId: string) {
  return sql<GrantRow[]>`
    with fence as (
      select id from instance where id = ${holder.instanceId} and epoch = ${holder.epoch} for share
    ), prepaid as (
      select a.balance from account a, fence where a.id = ${purse.accountId} and a.kind = 'prepaid' for no key update of a
    ), rest as (
      select balance, balance - ${asked.need.toString()}::numeric as rest, greatest(${asked.call.toString()}::numeric, 1) as call
      from prepaid
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
      update account a set balance = a.balance - s.amount from size s
      where a.id = ${purse.accountId} and exists (select from fresh)
      returning a.balance
    ), escrow as (
      insert into account (id, kind, owner, balance)
      select ${purse.leaseId}, 'escrow', ${purse.accountId}, s.amount from size s, fresh
      on conflict (id) do update set balance = account.balance + excluded.balance
    ), leased as (
      insert into lease (id, instance_id, epoch, account_id, granted, expires_at)
      select ${purse.leaseId}, ${holder.instanceId}, ${holder.epoch}, ${purse.accountId}, s.amount, now() + interval '10 minutes'
      from size s, fresh
      on conflict (id) do update set granted = lease.granted + excluded.granted, expires_at = excluded.expires_at
      returning granted
    ), posted as (
      insert into entry (txn_id, account_id, amount)
      select fresh.id, side.account_id, side.amount from fresh, size s,
        lateral (values (${purse.accountId}, -s.amount), (${purse.leaseId}, s.amount)) as side (account_id, amount)
    )
    select exists (select from fence) as current,
      coalesce((select granted from leased), (select granted from lease where id = ${purse.leaseId}), 0) as granted,
      coalesce((select balance from moved), (select balance from prepaid), 0) as left`;
}

/**
 * Closes all leases of an instance's epochs before this one and returns what is left in them. To be called when all calls
 * of those epochs are settled.
 */
export async function returnLeases(sql: Sql, instanceId: string, beforeEpoch: number): Promise<void> {
  let closed: number;
  do {
    const [row] = await repeat(() => returnStatement(sql, instanceId, beforeEpoch), RETURN_LIMIT_MS);
    closed = row?.closed ?? 0;
  } while (closed > 0);
}

function returnStatement(sql: Sql, instanceId: string, beforeEpoch: number) {
  return sql<{ closed: number }[]>`
    with closed as (
      update lease set state = 'closed' where id in (
        select id from lease where instance_id = ${instanceId} and epoch < ${beforeEpoch} and state = 'open'
        limit ${LEASES_PER_RETURN}
      ) returning id, account_id
    ), residue as (
      select a.id, closed.account_id, a.balance from closed join account a on a.id = closed.id
      where a.balance > 0 order by a.id for no key update of a
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
    )
    select count(*)::int as closed from closed`;
}
