/**
 * Refunds: money given back for a settled call by a new transfer that refers to it. The call itself is never changed. Both who
 * shared the charge share the refund: the operator in proportion, as far as its earnings are not paid out yet, the host the rest.
 */
import { v7 as uuidv7 } from 'uuid';
import type { Sql } from '../db/connect.ts';
import { least, type Nanousd } from './money.ts';
import { inTransaction, repeat } from './retry.ts';

export interface RefundRequest {
  readonly callId: string;
  readonly amount: Nanousd;
  readonly reason: string;
  /** The same reference for the same call again changes nothing. */
  readonly reference: string;
}

/** A refund as booked, now or the first time that its reference came. */
export interface Refund {
  readonly txn: string;
  readonly amount: Nanousd;
  /** What the operator gave of it. */
  readonly operatorAmount: Nanousd;
  /** What all refunds of the call leave of its charge. */
  readonly refundable: Nanousd;
}

export type RefundRefusal =
  | { readonly code: 'call_not_found' }
  | { readonly code: 'reference_conflict' }
  | { readonly code: 'above_charge'; readonly refundable: Nanousd };

interface RefundedCall {
  readonly accountId: string;
  readonly operatorId: string | null;
  readonly charged: Nanousd;
  readonly operatorShare: Nanousd;
  readonly refunded: Nanousd;
  readonly operatorRefunded: Nanousd;
}

const STATEMENT_LIMIT_MS = 10_000;

/** Gives an agent back what it was charged for a call, or a part; never more than the charge in all. */
export function refundCall(sql: Sql, request: RefundRequest): Promise<Refund | RefundRefusal> {
  return repeat(() => inTransaction(sql, (tx) => refundOnce(tx, request)), STATEMENT_LIMIT_MS);
}

async function refundOnce(tx: Sql, request: RefundRequest): Promise<Refund | RefundRefusal> {
  const call = await lockCall(tx, request.callId);
  if (call === undefined) return { code: 'call_not_found' };
  const refundable = call.charged - call.refunded;
  const [first] = await tx<Omit<Refund, 'refundable'>[]>`
    select txn_id as txn, nanousd as amount, operator_nanousd as "operatorAmount" from refund
    where call_id = ${request.callId} and reference = ${request.reference}`;
  if (first !== undefined) {
    return first.amount === request.amount ? { ...first, refundable } : { code: 'reference_conflict' };
  }
  if (request.amount > refundable) return { code: 'above_charge', refundable };
  return { ...(await post(tx, request, call)), refundable: refundable - request.amount };
}

/** The call with its refunds so far; others who refund it wait. */
async function lockCall(tx: Sql, callId: string): Promise<RefundedCall | undefined> {
  await tx`select from call where id = ${callId} for no key update`;
  const [call] = await tx<RefundedCall[]>`
    select c.account_id as "accountId", c.operator_id as "operatorId", c.charged_nanousd as charged,
      c.operator_nanousd as "operatorShare", coalesce(sum(r.nanousd), 0)::bigint as refunded,
      coalesce(sum(r.operator_nanousd), 0)::bigint as "operatorRefunded"
    from call c left join refund r on r.call_id = c.id where c.id = ${callId} group by c.id`;
  return call;
}

async function post(tx: Sql, request: RefundRequest, call: RefundedCall): Promise<Omit<Refund, 'refundable'>> {
  const givers = [call.operatorId, 'revenue', 'shortfall'].filter((id) => id !== null);
  // In the order of their ids, as everybody locks accounts.
  const accounts = await tx<{ id: string; balance: Nanousd }[]>`
    select id, balance from account
    where id in (select jsonb_array_elements_text(${JSON.stringify([call.accountId, ...givers])}::text::jsonb))
    order by id for no key update`;
  const balanceOf = (id: string | null) => accounts.find((account) => account.id === id)?.balance ?? 0n;
  const { amount } = request;
  const due = (call.operatorShare * (call.refunded + amount)) / call.charged - call.operatorRefunded;
  const operatorAmount = least(due, least(amount, balanceOf(call.operatorId)));
  const ours = amount - operatorAmount;
  const ofRevenue = least(ours, balanceOf('revenue'));
  const movements = [
    { account_id: call.accountId, amount },
    { account_id: call.operatorId, amount: -operatorAmount },
    { account_id: 'revenue', amount: -ofRevenue },
    // What the host has earned in all does not suffice: the loss is the platform's, never the agent's.
    { account_id: 'shortfall', amount: -(ours - ofRevenue) },
  ].filter((movement) => movement.amount !== 0n);
  const txn = uuidv7();
  const sides = JSON.stringify(movements.map((side) => ({ ...side, amount: side.amount.toString() })));
  await tx`
    with posting as (
      insert into txn (id, kind, ref) values (${txn}, 'refund', ${`${request.callId}:${request.reference}`})
    ), noted as (
      insert into refund (txn_id, call_id, nanousd, operator_nanousd, reason, reference)
      values (${txn}, ${request.callId}, ${amount}, ${operatorAmount}, ${request.reason}, ${request.reference})
    ), movement as (
      select * from jsonb_to_recordset(${sides}::text::jsonb) as side (account_id text, amount bigint)
    ), posted as (
      insert into entry (txn_id, account_id, amount) select ${txn}::uuid, account_id, amount from movement
    )
    update account a set balance = a.balance + m.amount from movement m where a.id = m.account_id`;
  return { txn, amount, operatorAmount };
}
