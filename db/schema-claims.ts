/** The table of requests that have a name: which gateway serves them. */
import { sql } from 'drizzle-orm';
import { boolean, check, index, integer, pgTable, text, timestamp, uuid } from 'drizzle-orm/pg-core';

/** An `Idempotency-Key` in use, so that a request with it runs on one gateway and once. Its answer is in that gateway's memory. */
export const idempotencyClaim = pgTable(
  'idempotency_claim',
  {
    /** Hash of the caller and its key, and of what it asked: neither a key nor a prompt is here. */
    place: text('place').primaryKey(),
    fingerprint: text('fingerprint').notNull(),
    /** The call's own id; of another request a random one. */
    id: uuid('id').notNull().unique(),
    isCall: boolean('is_call').notNull(),
    /** Who serves it: one life of an instance. */
    instanceId: text('instance_id').notNull(),
    epoch: integer('epoch').notNull(),
    /** `lost`: it was charged, or may have been done, and its answer is nowhere any more. */
    state: text('state').notNull().default('running'),
    expiresAt: timestamp('expires_at', { withTimezone: true }).notNull(),
  },
  (t) => [
    index('idempotency_claim_expiry').on(t.expiresAt),
    index('idempotency_claim_instance').on(t.instanceId),
    check('idempotency_claim_state_known', sql`${t.state} in ('running', 'ended', 'lost')`),
  ],
);
