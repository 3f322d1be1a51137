/** The tables of keys and secrets. */
import { sql } from 'drizzle-orm';
import { type AnyPgColumn, check, index, integer, jsonb, pgTable, text, timestamp } from 'drizzle-orm/pg-core';
import { createdAt } from './columns.ts';

/** Keys of agents and operators: only their HMAC is here. */
export const apiKey = pgTable(
  'api_key',
  {
    id: text('id').primaryKey(),
    hash: text('hash').notNull().unique(),
    hint: text('hint').notNull(),
    kind: text('kind').notNull(),
    ownerId: text('owner_id').notNull(),
    name: text('name'),
    /** The key that made this one: its limits bind here too, and its end is the end of this one. */
    parentId: text('parent_id').references((): AnyPgColumn => apiKey.id),
    expiresAt: timestamp('expires_at', { withTimezone: true }),
    requestsPerMinute: integer('requests_per_minute'),
    tokensPerMinute: integer('tokens_per_minute'),
    openStreams: integer('open_streams'),
    /** Which workers may serve its calls and those of all keys below it, as its maker wrote it; null: any. */
    provider: jsonb('provider'),
    createdAt: createdAt(),
    revokedAt: timestamp('revoked_at', { withTimezone: true }),
  },
  (t) => [
    index('api_key_owner').on(t.ownerId),
    index('api_key_parent').on(t.parentId).where(sql`${t.parentId} is not null`),
    index('api_key_revoked').on(t.revokedAt).where(sql`${t.revokedAt} is not null`),
    check('api_key_kind_known', sql`${t.kind} in ('live', 'test', 'operator')`),
  ],
);

/** Secrets that every gateway of one database shares: the key pepper and the cache-salt key. */
export const secret = pgTable('secret', {
  name: text('name').primaryKey(),
  value: text('value').notNull(),
});

/** Receipt-signing keys (JWK). The newest signs; all stay published, so that old receipts verify. */
export const signingKey = pgTable('signing_key', {
  kid: text('kid').primaryKey(),
  privateJwk: jsonb('private_jwk').notNull(),
  createdAt: createdAt(),
});
