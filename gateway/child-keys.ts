/** Keys that agents make of their own keys: each has a parent, is no wider than it and ends with it at the latest. */
import type { Sql } from '../db/connect.ts';
import { isoTime } from '../db/time.ts';
import { type Budget, spentNow } from '../payments/budgets.ts';
import type { Nanousd } from '../payments/money.ts';
import { inTransaction } from '../payments/retry.ts';
import type { Principal } from './auth.ts';
import { insertKey, type NewKey } from './key-store.ts';
import type { ProviderFields } from './provider-fields.ts';
import type { KeyLimits } from './ratelimit.ts';

/** A key as its makers see it. Limits are those in force: the least of its own and of all keys above it. */
export interface KeyRow extends KeyLimits {
  readonly id: string;
  readonly name: string | null;
  readonly hint: string;
  readonly parentId: string | null;
  readonly createdAt: string;
  readonly expiresAt: string | null;
  /** Null, as the two after it, for a key without a budget of its own. */
  readonly budgetNanousd: Nanousd | null;
  readonly budgetWindowSeconds: number | null;
  /** Settled in the present window. */
  readonly budgetSpentNanousd: Nanousd | null;
  /** As its maker wrote it. */
  readonly provider: ProviderFields | null;
}

export interface ChildKey {
  readonly name: string | null;
  /** ISO 8601; a later end than the parent's is the parent's. */
  readonly expiresAt: string | null;
  readonly limits: { readonly [name in keyof KeyLimits]: number | null };
  readonly budget: Budget | null;
  /** JSON. */
  readonly provider: string | null;
}

export type MintRefusal = { readonly code: 'parent_gone' | 'too_many' | 'already_over' };

/** Makes a key below the principal's own, unless `childrenMax` are in force there. What is returned as `key` cannot be shown again. */
export function mintChild(
  sql: Sql,
  keyring: { hash(key: string): string },
  parent: Principal,
  child: ChildKey,
  childrenMax: number,
): Promise<{ id: string; key: string } | MintRefusal> {
  return inTransaction(sql, async (tx) => {
    // Whoever revokes the parent waits until the child is there to be revoked too, or comes first.
    const [above] = await tx<{ expiresAt: string | null }[]>`
      select least(expires_at, ${child.expiresAt}::timestamptz)::text as "expiresAt" from api_key
      where id = ${parent.keyId} and revoked_at is null for no key update`;
    if (above === undefined) return { code: 'parent_gone' };
    const [now] = await tx<{ children: number; over: boolean }[]>`
      select count(*)::integer as children, coalesce(${above.expiresAt}::timestamptz <= now(), false) as over from api_key
      where parent_id = ${parent.keyId} and revoked_at is null and coalesce(expires_at > now(), true)`;
    if (now?.over !== false) return { code: 'already_over' };
    if (now.children >= childrenMax) return { code: 'too_many' };
    const { name, budget, provider } = child;
    const key: NewKey = { ownerId: parent.ownerId, kind: parent.test ? 'test' : 'live', name, budget, provider };
    return insertKey(tx, keyring, { ...key, ...child.limits, parentId: parent.keyId, expiresAt: above.expiresAt });
  });
}

/** The principal's own key and those below it that are in force, newest first; `after` is the last id of the page before. */
export async function keysUnder(
  sql: Sql,
  principal: Principal,
  page: { limit: number; after: string | null },
): Promise<{ keys: KeyRow[]; hasMore: boolean }> {
  const older = page.after === null ? sql`true` : sql`tree.id < ${page.after}`;
  const rows = await select(sql, principal, sql`${older} order by tree.id desc limit ${page.limit + 1}`);
  return { keys: rows.slice(0, page.limit), hasMore: rows.length > page.limit };
}

/** One of these keys; undefined for any other, and for one that is not in force. */
export async function keyUnder(sql: Sql, principal: Principal, id: string): Promise<KeyRow | undefined> {
  const [row] = await select(sql, principal, sql`tree.id = ${id}`);
  return row;
}

function select(sql: Sql, { keyId, limits }: Principal, where: ReturnType<Sql>) {
  return sql<KeyRow[]>`
    with recursive tree as (
      select id, name, hint, parent_id, created_at, expires_at, provider, ${limits.requestsPerMinute}::integer as requests,
        ${limits.tokensPerMinute}::integer as tokens, ${limits.openStreams}::integer as streams
      from api_key where id = ${keyId}
      union all
      select k.id, k.name, k.hint, k.parent_id, k.created_at, k.expires_at, k.provider, least(k.requests_per_minute, t.requests),
        least(k.tokens_per_minute, t.tokens), least(k.open_streams, t.streams)
      from api_key k join tree t on k.parent_id = t.id
      where k.revoked_at is null and coalesce(k.expires_at > now(), true)
    )
    select tree.id, name, hint, parent_id as "parentId", requests as "requestsPerMinute", tokens as "tokensPerMinute",
      streams as "openStreams", ${isoTime(sql, sql`created_at`)} as "createdAt",
      ${isoTime(sql, sql`expires_at`)} as "expiresAt", b.limit_nanousd as "budgetNanousd",
      b.window_seconds as "budgetWindowSeconds", case when b.id is not null then ${spentNow(sql)} end as "budgetSpentNanousd", provider
    from tree left join budget b on b.id = tree.id where ${where}`;
}
