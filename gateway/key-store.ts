/** The table of keys: only their HMAC is there. */
import { randomBytes } from 'node:crypto';
import type { Sql } from '../db/connect.ts';
import { newId } from '../payments/ledger.ts';
import { keyHint, mintKey } from './keys.ts';

/** Every gateway listens here; the payload is the id of a key that changed. */
export const KEYS_CHANNEL = 'faregate_keys';

export interface StoredKey {
  readonly id: string;
  readonly kind: 'live' | 'test' | 'operator';
  readonly ownerId: string;
  readonly requestsPerMinute: number | null;
  readonly tokensPerMinute: number | null;
  readonly openStreams: number | null;
}

export interface NewKey {
  readonly ownerId: string;
  readonly kind: StoredKey['kind'];
  readonly name: string | null;
}

/** The key with this hash, unless it was revoked. */
export async function findKey(sql: Sql, hash: string): Promise<StoredKey | undefined> {
  const [row] = await sql<StoredKey[]>`
    select id, kind, owner_id as "ownerId", requests_per_minute as "requestsPerMinute",
      tokens_per_minute as "tokensPerMinute", open_streams as "openStreams"
    from api_key where hash = ${hash} and revoked_at is null`;
  return row;
}

/** Ids of the keys that were revoked within the last `windowMs`, by the database's own clock. */
export async function revokedWithin(sql: Sql, windowMs: number): Promise<string[]> {
  const rows = await sql<{ id: string }[]>`
    select id from api_key where revoked_at > now() - ${windowMs} * interval '1 millisecond'`;
  return rows.map(({ id }) => id);
}

/** Makes a key. What is returned as `key` is nowhere else and cannot be shown again. */
export async function createKey(
  sql: Sql,
  keyring: { hash(key: string): string },
  { ownerId, kind, name }: NewKey,
): Promise<{ id: string; key: string }> {
  const id = newId('key');
  const key = mintKey(kind === 'operator' ? 'op' : kind, randomBytes);
  await sql`
    insert into api_key (id, hash, hint, kind, owner_id, name)
    values (${id}, ${keyring.hash(key)}, ${keyHint(key)}, ${kind}, ${ownerId}, ${name})`;
  return { id, key };
}

/** Revokes a key everywhere, at once. Returns false when there is no such key; a second time changes nothing. */
export async function revokeKey(sql: Sql, id: string): Promise<boolean> {
  const rows = await sql`
    with revoked as (
      update api_key set revoked_at = coalesce(revoked_at, now()) where id = ${id} returning id
    )
    select pg_notify(${KEYS_CHANNEL}, id) from revoked`;
  return rows.length > 0;
}
