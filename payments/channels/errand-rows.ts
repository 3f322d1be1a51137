/** Errands in Postgres: what gateways without keys ask of those that have them, and what they were answered. */
import { v7 as uuidv7 } from 'uuid';
import type { Sql } from '../../db/connect.ts';
import type { Hex } from '../methods/authorization.ts';
import { inTransaction } from '../retry.ts';

export interface Errand {
  readonly id: string;
  /** The payment as its client sent it. */
  readonly sent: unknown;
}

/** Gateways with keys listen here. */
export const ERRANDS = 'faregate_channel_errands';

/** Asks whoever has the key of `authorizer`. Null, and nothing is asked, while `most` others wait. */
export async function ask(
  sql: Sql,
  { authorizer, sent, most }: { authorizer: Hex; sent: unknown; most: number },
): Promise<string | null> {
  const id = uuidv7();
  const rows = await inTransaction(sql, async (tx) => {
    // One after the other: those who ask at once would not count each other.
    await tx`select pg_advisory_xact_lock(hashtextextended(${ERRANDS}, 0))`;
    return tx`
      insert into channel_errand (id, authorizer, sent)
      select ${id}::uuid, ${authorizer}, ${JSON.stringify(sent)}::text::jsonb
      where (select count(*) from channel_errand where answer is null and ${isWaitedFor(tx)}) < ${most}
      returning pg_notify(${ERRANDS}, '')`;
  });
  return rows.length > 0 ? id : null;
}

/** What was answered; null: nothing yet. `isTaken`: somebody is at it. */
export async function look(sql: Sql, id: string): Promise<{ answer: unknown; isTaken: boolean }> {
  const [row] = await sql<{ answer: unknown; isTaken: boolean }[]>`
    select answer, taken_at is not null as "isTaken" from channel_errand where id = ${id}`;
  return row ?? { answer: null, isTaken: false };
}

/** Nobody is to do it any more. False when somebody is at it. */
export async function withdraw(sql: Sql, id: string): Promise<boolean> {
  return (await sql`delete from channel_errand where id = ${id} and taken_at is null returning id`).length > 0;
}

/** Errands of this key for this gateway to do, each of them taken once: who asked asks again where its taker died. */
export function take(sql: Sql, authorizer: Hex, most: number): Promise<Errand[]> {
  return sql<Errand[]>`
    update channel_errand set taken_at = now() where id in (
      select id from channel_errand where taken_at is null and authorizer = ${authorizer} and ${isWaitedFor(sql)}
      order by id limit ${most} for update skip locked
    ) returning id, sent`;
}

export async function answer(sql: Sql, id: string, answered: unknown): Promise<void> {
  await sql`update channel_errand set answer = ${JSON.stringify(answered)}::text::jsonb where id = ${id}`;
}

/** Who asked is there at most so long: what is older is for nobody. */
function isWaitedFor(sql: Sql) {
  return sql`created_at > now() - interval '1 minute'`;
}

/** Forgets those that nobody waits for any more. */
export async function forgetOld(sql: Sql): Promise<void> {
  await sql`delete from channel_errand where created_at < now() - interval '1 hour'`;
}
