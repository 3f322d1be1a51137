/** Our transactions as Postgres has them: which are under way, and which have been mined as far as a node can tell. */
import type { Sql } from '../../db/connect.ts';
import type { Hex } from './authorization.ts';

export interface Outgoing {
  /** What it is for, such as `payment:…`: the same again sends nothing new. */
  readonly purpose: string;
  readonly to: Hex;
  readonly data: Hex;
  readonly gas: bigint;
  /** Whose address it must come from; any key of ours by default. */
  readonly from?: Hex;
}

/** A stored transaction. */
export interface SentRow extends Outgoing {
  readonly id: string;
  readonly signerId: string;
  readonly nonce: bigint;
  readonly raw: Hex | null;
  readonly hash: Hex | null;
  /** What it was signed for; null before. */
  readonly maxFeePerGas: bigint | null;
  readonly priorityFeePerGas: bigint | null;
  readonly replacements: bigint;
  readonly idleMs: bigint;
}

/** Which of these keys, JSON of their names, have something under way, or so lately that its block may be taken back. */
export async function busySigners(sql: Sql, keys: string): Promise<readonly string[]> {
  const rows = await sql<{ id: string }[]>`
    select id from signer s where id in (select jsonb_array_elements_text(${keys}::text::jsonb)) and (
      exists (select from chain_transaction t where t.signer_id = s.id and t.state = 'pending')
      or (select sent_at from chain_transaction t where t.signer_id = s.id order by nonce desc limit 1)
        > now() - interval '10 minutes'
    ) order by id`;
  return rows.map(({ id }) => id);
}

/**
 * Notes that the chain has used so many nonces of a key. Where it had used more before, blocks were taken back: what was in them is
 * under way again, or nothing that this key sends later could ever be mined.
 */
export async function noteMined(sql: Sql, signerId: string, used: bigint): Promise<void> {
  await sql`
    update chain_transaction set state = 'mined' where signer_id = ${signerId} and nonce < ${used} and state = 'pending'`;
  await sql`
    update chain_transaction set state = 'pending', sent_at = now()
    where signer_id = ${signerId} and nonce >= ${used} and state = 'mined'`;
}

/** What a key has under way, in the order of its nonces. */
export function pendingOf(sql: Sql, signerId: string): PromiseLike<SentRow[]> {
  return selectRows(sql, sql`state = 'pending' and signer_id = ${signerId} order by nonce`);
}

/** The transaction for a purpose, where there is one. */
export async function storedFor(sql: Sql, purpose: string): Promise<SentRow | undefined> {
  const [row] = await selectRows(sql, sql`purpose = ${purpose}`);
  return row;
}

function selectRows(sql: Sql, where: ReturnType<Sql>): PromiseLike<SentRow[]> {
  return sql<SentRow[]>`
    select id, purpose, signer_id as "signerId", nonce, "to", data, gas, max_fee_per_gas as "maxFeePerGas",
      priority_fee_per_gas as "priorityFeePerGas", raw, hash, replacements::bigint as replacements,
      (extract(epoch from now() - sent_at) * 1000)::bigint as "idleMs"
    from chain_transaction where ${where}`;
}
