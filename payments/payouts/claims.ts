/** Which payouts are pending, and whose turn it is to be sent: one process at a time takes each, for a while. */
import { v7 as uuidv7 } from 'uuid';
import type { Sql } from '../../db/connect.ts';
import type { Evm } from '../methods/evm.ts';
import type { Nanousd } from '../money.ts';

/** What the chain needs to know of a payout. */
export interface Booked {
  readonly id: string;
  readonly payee: string;
  readonly amount: Nanousd;
  readonly validBefore: bigint;
  readonly sinceBlock: bigint | null;
}

interface Whose {
  readonly sql: Sql;
  readonly evm: Evm;
  readonly treasury: { readonly address: string };
}

const PENDING_AT_ONCE = 500;
/** A transaction of this many transfers fits any block, and the gas of one failure is small. */
const BATCH_MAX = 50;
/** What would end before it is mined is not sent any more. */
const LAST_CALL_SECONDS = 60;
/** The pause before the next attempt doubles so many times. */
const DOUBLINGS_MAX = 4;

/** The oldest payouts that the chain has still to carry out. */
export function pendingPayouts({ sql, evm, treasury }: Whose): PromiseLike<Booked[]> {
  return sql<Booked[]>`
    select p.id, p.payee, p.nanousd as amount, p.valid_before as "validBefore", p.since_block as "sinceBlock"
    from payout p where ${isOurs(sql, evm, treasury)} order by p.id limit ${PENDING_AT_ONCE}`;
}

/** Takes the payouts that are due for this process, as one batch; null when none is. */
export async function claimDue(
  { sql, evm, treasury, retryMs }: Whose & { readonly retryMs: number },
  head: bigint,
): Promise<{ id: string; payouts: Booked[] } | null> {
  const id = uuidv7();
  const payouts = await sql<Booked[]>`
    with due as (
      select p.id from payout p
      where ${isOurs(sql, evm, treasury)} and p.valid_before > extract(epoch from now()) + ${LAST_CALL_SECONDS}
        and (p.batched_at is null or p.batched_at
          < now() - ${retryMs} * (1 << least(p.attempts - 1, ${DOUBLINGS_MAX})) * interval '1 millisecond')
      order by p.id limit ${BATCH_MAX} for no key update skip locked
    )
    update payout p set batch_id = ${id}, batched_at = now(), attempts = attempts + 1,
      since_block = coalesce(since_block, ${head})
    from due where p.id = due.id
    returning p.id, p.payee, p.nanousd as amount, p.valid_before as "validBefore", p.since_block as "sinceBlock"`;
  return payouts.length === 0 ? null : { id, payouts };
}

/** Notes what stands in a payout's way. */
export async function noteReason(sql: Sql, id: string, reason: string): Promise<void> {
  await sql`update payout set reason = ${reason} where id = ${id} and state = 'pending'`;
}

function isOurs(sql: Sql, { network }: Evm, treasury: { readonly address: string }) {
  return sql`p.state = 'pending' and p.network = ${network.id} and p.asset = ${network.usdc.address.toLowerCase()}
    and p.payer = ${treasury.address.toLowerCase()}`;
}
