/** Payments by `upto` in Postgres: open → due → settled, burnt or lost. Never back, and none is forgotten. */
import type { Sql } from '../../db/connect.ts';
import { createAgent } from '../ledger.ts';
import type { Hex } from '../methods/authorization.ts';
import { least, type Nanousd } from '../money.ts';
import { inTransaction } from '../retry.ts';
import { transfer } from '../transfer.ts';
import { nanousdOf, unitsFor } from '../units.ts';
import type { Means, Permit } from './permit.ts';

export interface NewUpto {
  readonly id: string;
  readonly payerId: string;
  readonly permit: Permit;
  readonly most: Nanousd;
  readonly means: Means;
  /** How many of its payer's were settled before those means were looked at. */
  readonly settledBefore: bigint;
  /** So much may be open of one payer. */
  readonly cap: Nanousd;
  readonly standsMs: number;
}

export interface DueUpto {
  readonly id: string;
  readonly permit: Permit;
  readonly charged: Nanousd;
  readonly units: bigint;
}

/**
 * `used`: its nonce was here before; `lost`: the chain refused an earlier one; `beyond`: too much would be open at once; `stale`: another one
 * was settled after the payer's means were looked at, which are less now.
 */
export type Admission = { readonly accountId: string } | 'used' | 'lost' | 'beyond' | 'stale';

/** How many of a payer's maxima were settled. */
export async function settledOf(sql: Sql, payerId: string): Promise<bigint> {
  const [row] = await sql<{ settled: bigint }[]>`select settled from upto_payer where id = ${payerId}`;
  return row?.settled ?? 0n;
}

/** Takes a maximum for one call and lends its account what that may cost, in one step; one payer's come one after the other. */
export function open(sql: Sql, upto: NewUpto): Promise<Admission> {
  const { id, payerId, permit, most, means, settledBefore, cap, standsMs } = upto;
  return inTransaction(sql, async (tx) => {
    await tx`select pg_advisory_xact_lock(hashtextextended(${payerId}, 0))`;
    const payer = await payerOf(tx, payerId);
    const [sums] = await tx<{ units: bigint; nanousd: Nanousd; lost: boolean }[]>`
      select coalesce(sum(case state when 'open' then max_units else charged_units end), 0)::bigint as units,
        coalesce(sum(most_nanousd) filter (where state = 'open'), 0)::bigint as nanousd,
        exists (select from upto_payment where payer_id = ${payerId} and state = 'lost' and transaction is not null) as lost
      from upto_payment where payer_id = ${payerId} and state in ('open', 'due')`;
    const { units, nanousd, lost } = sums ?? { units: 0n, nanousd: 0n, lost: true };
    if (lost) return 'lost';
    if (payer.settled !== settledBefore) return 'stale';
    const [fresh] = await tx`
      insert into upto_payment (id, payer_id, nonce, permit, deadline, max_units, most_nanousd, open_until)
      values (${id}, ${payerId}, ${permit.nonce}, ${JSON.stringify(permit)}::text::jsonb, ${permit.deadline}, ${permit.amount}, ${most},
        now() + ${standsMs} * interval '1 millisecond')
      on conflict (payer_id, nonce) do nothing returning id`;
    if (fresh === undefined) return 'used';
    const all = units + BigInt(permit.amount);
    // An approval that came along is made before anything is moved.
    const allowance =
      permit.approval === null || means.allowance > BigInt(permit.amount) ? means.allowance : BigInt(permit.amount);
    if (all > least(means.balance, allowance) || nanousdOf(all) > cap) {
      await tx`delete from upto_payment where id = ${id}`;
      return 'beyond';
    }
    const needed = payer.spent + nanousd + most;
    if (needed > payer.credited) await lend(tx, { payerId, accountId: payer.accountId, id }, needed - payer.credited);
    return { accountId: payer.accountId };
  });
}

/** Those who move what is due listen here, for the names of payers. */
export const DUE = 'faregate_upto_due';

/** Its call is over and was charged so much. False when that was noted before. */
export async function finish(sql: Sql, id: string, charged: Nanousd): Promise<boolean> {
  const rows = await sql`
    with over as (
      update upto_payment set charged_nanousd = ${charged}, charged_units = ${unitsFor(charged)},
        state = case when ${charged}::bigint = 0 then 'burnt' else 'due' end
      where id = ${id} and state = 'open' returning payer_id
    )
    update upto_payer p set spent_nanousd = p.spent_nanousd + ${charged} from over where p.id = over.payer_id
    returning p.id, case when ${charged}::bigint > 0 then pg_notify(${DUE}, p.id) end`;
  return rows.length > 0;
}

/** Stands for open ones a while longer. */
export async function renew(sql: Sql, ids: readonly string[], standsMs: number): Promise<void> {
  await sql`
    update upto_payment set open_until = now() + ${standsMs} * interval '1 millisecond'
    where state = 'open' and id in (select jsonb_array_elements_text(${JSON.stringify(ids)}::text::jsonb)::uuid)`;
}

/**
 * Closes what gateways that died left open, once their calls are settled: what the account was charged and no call accounts for is the charge
 * of these, each up to its maximum.
 */
export function finishLost(sql: Sql): Promise<void> {
  return inTransaction(sql, async (tx) => {
    const lost = await tx<{ id: string; most: Nanousd; payerId: string; unaccounted: Nanousd }[]>`
      select u.id, u.most_nanousd as most, p.id as "payerId", p.credited_nanousd - a.balance - p.spent_nanousd as unaccounted
      from upto_payment u join upto_payer p on p.id = u.payer_id join account a on a.id = p.account_id
      where u.state = 'open' and u.open_until < now()
        and not exists (select from account e where e.owner = p.account_id and e.kind = 'escrow' and e.balance > 0)
        and not exists (select from upto_payment o where o.payer_id = p.id and o.state = 'open' and o.open_until >= now())
      order by u.id limit 100 for no key update of u`;
    const left = new Map(lost.map(({ payerId, unaccounted }) => [payerId, unaccounted]));
    for (const { id, most, payerId } of lost) {
      const charged = least(most, left.get(payerId) ?? 0n);
      left.set(payerId, (left.get(payerId) ?? 0n) - charged);
      await finish(tx, id, charged);
    }
  });
}

/** What is to be moved, of one payer or of all. */
export function due(sql: Sql, payerId: string | null = null): Promise<DueUpto[]> {
  return sql<DueUpto[]>`
    select id, permit, charged_nanousd as charged, charged_units as units from upto_payment where state = 'due' and (${payerId}::text is null or payer_id = ${payerId}) order by id limit 100`;
}

/** Whether it is still to be moved, and by which transaction it was. */
export async function find(sql: Sql, id: string): Promise<{ state: string; transaction: Hex | null } | undefined> {
  const [row] = await sql<{ state: string; transaction: Hex | null }[]>`
    select state, transaction from upto_payment where id = ${id}`;
  return row;
}

/** It arrived. */
export async function settle(sql: Sql, id: string, transaction: Hex): Promise<void> {
  await sql`
    with arrived as (
      update upto_payment set state = 'settled', transaction = ${transaction} where id = ${id} and state = 'due' returning payer_id
    )
    update upto_payer p set settled = p.settled + 1 from arrived where p.id = arrived.payer_id`;
}

/** It never will: what its call was charged is our own loss. */
export async function lose(sql: Sql, { id, charged }: DueUpto, transaction: Hex | null): Promise<void> {
  await inTransaction(sql, async (tx) => {
    const [lost] = await tx`
      update upto_payment set state = 'lost', transaction = ${transaction} where id = ${id} and state = 'due' returning id`;
    if (lost === undefined) return;
    await transfer(tx, { kind: 'credit_lost', ref: refOf(id), from: 'shortfall', to: 'world', amount: charged });
  });
}

async function lend(
  tx: Sql,
  payer: { payerId: string; accountId: string; id: string },
  amount: Nanousd,
): Promise<void> {
  await tx`update upto_payer set credited_nanousd = credited_nanousd + ${amount} where id = ${payer.payerId}`;
  await transfer(tx, { kind: 'deposit', ref: refOf(payer.id), from: 'world', to: payer.accountId, amount });
}

function refOf(id: string): string {
  return `upto:${id}`;
}

async function payerOf(tx: Sql, id: string) {
  const find = () => tx<{ accountId: string; credited: Nanousd; spent: Nanousd; settled: bigint }[]>`
    select account_id as "accountId", credited_nanousd as credited, spent_nanousd as spent, settled from upto_payer where id = ${id}
    for no key update`;
  const [known] = await find();
  if (known !== undefined) return known;
  const { id: accountId } = await createAgent(tx, { name: `upto ${id}` });
  await tx`insert into upto_payer (id, account_id) values (${id}, ${accountId})`;
  return { accountId, credited: 0n, spent: 0n, settled: 0n };
}
