/** The table of keys: only their HMAC is there. */
import { randomBytes } from 'node:crypto';
import type { Sql } from '../db/connect.ts';
import { type Budget, createBudget } from '../payments/budgets.ts';
import { newId } from '../payments/ledger.ts';
import { inTransaction } from '../payments/retry.ts';
import { keyHint, mintKey } from './keys.ts';
import type { KeyLimits } from './ratelimit.ts';

/** Every gateway listens here; the payload is the id of a key that changed. */
export const KEYS_CHANNEL = 'faregate_keys';

type OwnLimits = { readonly [name in keyof KeyLimits]: number | null };

export interface StoredKey extends OwnLimits {
  readonly id: string;
  readonly kind: 'live' | 'test' | 'operator';
  readonly ownerId: string;
  readonly expiresInMs: number | null;
  /** Whether it has a budget of its own. */
  readonly budgeted: boolean;
  /** JSON of what it wants of the workers; null: nothing. */
  readonly provider: string | null;
}

export interface NewKey {
  readonly ownerId: string;
  readonly kind: StoredKey['kind'];
  readonly name: string | null;
  /** What it and all keys below it may spend; by default as much as the keys above it. */
  readonly budget?: Budget | null;
  /** What its calls, and those of all keys below it, want of the workers: JSON that `parseProvider` takes. */
  readonly provider?: string | null;
}

/** The key with this hash and those that it descends from, itself first; none when any of them was revoked or has expired. */
export function findKey(sql: Sql, hash: string): PromiseLike<StoredKey[]> {
  return lineOf(sql, hash, null);
}

/** The oldest of an account's own lasting keys, as `findKey` answers it; none where it has none in force. */
export function findOwnKey(sql: Sql, ownerId: string): PromiseLike<StoredKey[]> {
  return lineOf(sql, null, ownerId);
}

function lineOf(sql: Sql, hash: string | null, ownerId: string | null): PromiseLike<StoredKey[]> {
  return sql<StoredKey[]>`
    with recursive line as (
      select k.*, 0 as depth from api_key k where hash = coalesce(${hash}, (
        select hash from api_key
        where owner_id = ${ownerId} and parent_id is null and revoked_at is null and expires_at is null order by id limit 1
      ))
      union all
      select k.*, line.depth + 1 from api_key k join line on k.id = line.parent_id
    )
    select id, kind, owner_id as "ownerId", requests_per_minute as "requestsPerMinute",
      tokens_per_minute as "tokensPerMinute", open_streams as "openStreams",
      (extract(epoch from expires_at - now()) * 1000)::float8 as "expiresInMs",
      exists (select from budget where budget.id = line.id) as budgeted, provider::text as provider
    from line
    where not exists (select from line where revoked_at is not null or expires_at <= now())
    order by depth`;
}

/** Ids of the keys that were revoked within the last `windowMs`, by the database's own clock. */
export async function revokedWithin(sql: Sql, windowMs: number): Promise<string[]> {
  const rows = await sql<{ id: string }[]>`
    select id from api_key where revoked_at > now() - ${windowMs} * interval '1 millisecond'`;
  return rows.map(({ id }) => id);
}

/** Makes a key. What is returned as `key` is nowhere else and cannot be shown again. */
export function createKey(
  sql: Sql,
  keyring: { hash(key: string): string },
  key: NewKey,
): Promise<{ id: string; key: string }> {
  const unlimited = { requestsPerMinute: null, tokensPerMinute: null, openStreams: null };
  const row = { ...key, ...unlimited, parentId: null, expiresAt: null };
  return inTransaction(sql, (tx) => insertKey(tx, keyring, row));
}

/** `createKey`, in a transaction, for a key with limits, an end or a parent of its own; `expiresAt` as Postgres reads it. */
export async function insertKey(
  sql: Sql,
  keyring: { hash(key: string): string },
  row: NewKey & OwnLimits & { readonly parentId: string | null; readonly expiresAt: string | null },
): Promise<{ id: string; key: string }> {
  const id = newId('key');
  const key = mintKey(row.kind === 'operator' ? 'op' : row.kind, randomBytes);
  await sql`
    insert into api_key (id, hash, hint, kind, owner_id, name, parent_id, expires_at, requests_per_minute,
      tokens_per_minute, open_streams, provider)
    values (${id}, ${keyring.hash(key)}, ${keyHint(key)}, ${row.kind}, ${row.ownerId}, ${row.name}, ${row.parentId},
      ${row.expiresAt}, ${row.requestsPerMinute}, ${row.tokensPerMinute}, ${row.openStreams}, ${row.provider ?? null}::text::jsonb)`;
  if (row.budget) await createBudget(sql, id, row.budget);
  return { id, key };
}

/** Revokes a key and all below it everywhere, at once. Returns false when there is no such key; a second time changes nothing. */
export function revokeKey(sql: Sql, id: string): Promise<boolean> {
  return inTransaction(sql, async (tx) => {
    let level = await tx<{ id: string }[]>`
      update api_key set revoked_at = coalesce(revoked_at, now()) where id = ${id} returning id`;
    const found = level.length > 0;
    while (level.length > 0) {
      const ids = JSON.stringify(level.map((key) => key.id));
      await tx`select pg_notify(${KEYS_CHANNEL}, id) from jsonb_array_elements_text(${ids}::text::jsonb) id`;
      // A statement for each level: it waits for, and then sees, a child that is being made below the level before.
      level = await tx<{ id: string }[]>`
        update api_key set revoked_at = now() where revoked_at is null
          and parent_id in (select jsonb_array_elements_text(${ids}::text::jsonb)) returning id`;
    }
    return found;
  });
}
