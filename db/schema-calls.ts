/** The tables of closed calls, and of what became of them. */
import { sql } from 'drizzle-orm';
import {
  bigint,
  boolean,
  check,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  text,
  timestamp,
  unique,
  uuid,
} from 'drizzle-orm/pg-core';
import { nanousd } from './columns.ts';
import { txn } from './schema.ts';

/** One closed call. The migration partitions it by `id`: a UUIDv7 begins with its time, so the primary key is exactly-once for ever. */
export const call = pgTable(
  'call',
  {
    id: uuid('id').primaryKey(),
    accountId: text('account_id').notNull(),
    keyId: text('key_id').notNull(),
    leaseId: text('lease_id').notNull(),
    endpoint: text('endpoint').notNull(),
    model: text('model').notNull(),
    workerId: text('worker_id'),
    operatorId: text('operator_id'),
    region: text('region'),
    outcome: text('outcome').notNull(),
    streamed: boolean('streamed').notNull(),
    attempts: integer('attempts').notNull(),
    promptTokens: integer('prompt_tokens').notNull(),
    cachedTokens: integer('cached_tokens').notNull(),
    completionTokens: integer('completion_tokens').notNull(),
    heldNanousd: nanousd('held_nanousd').notNull(),
    chargedNanousd: nanousd('charged_nanousd').notNull(),
    operatorNanousd: nanousd('operator_nanousd').notNull(),
    priceVersion: integer('price_version').notNull(),
    queueMs: integer('queue_ms'),
    ttftMs: integer('ttft_ms'),
    billedMs: integer('billed_ms').notNull(),
    totalMs: integer('total_ms').notNull(),
    /** The time of the txn that charged it. */
    settledAt: timestamp('settled_at', { withTimezone: true }).notNull().defaultNow(),
  },
  (t) => [
    index('call_account').on(t.accountId, t.id),
    // An operator's statement reads the calls of a period. They lie in the order of their settling: a range of pages each.
    index('call_settled').using('brin', t.settledAt),
    check('call_charged_within_held', sql`${t.chargedNanousd} between 0 and ${t.heldNanousd}`),
    check('call_share_within_charge', sql`${t.operatorNanousd} between 0 and ${t.chargedNanousd}`),
    check('call_outcome_known', sql`${t.outcome} in ('complete', 'aborted', 'failed')`),
  ],
);

/** What was settled in each minute: the sums of `call`, kept by the statement that settles. */
export const usageMinute = pgTable(
  'usage_minute',
  {
    accountId: text('account_id').notNull(),
    minute: timestamp('minute', { withTimezone: true }).notNull(),
    model: text('model').notNull(),
    calls: bigint('calls', { mode: 'bigint' }).notNull(),
    promptTokens: bigint('prompt_tokens', { mode: 'bigint' }).notNull(),
    cachedTokens: bigint('cached_tokens', { mode: 'bigint' }).notNull(),
    completionTokens: bigint('completion_tokens', { mode: 'bigint' }).notNull(),
    billedMs: bigint('billed_ms', { mode: 'bigint' }).notNull(),
    chargedNanousd: nanousd('charged_nanousd').notNull(),
  },
  (t) => [primaryKey({ columns: [t.accountId, t.minute, t.model] })],
);

/** A month whose calls were written to a file and dropped: see archive.ts. */
export const archivedMonth = pgTable('archived_month', {
  /** `2026-11` */
  month: text('month').primaryKey(),
  /** Its calls have ids before this one. */
  idsBefore: uuid('ids_before').notNull(),
  calls: bigint('calls', { mode: 'bigint' }).notNull(),
  /** Null for a month without calls. */
  settledUntil: timestamp('settled_until', { withTimezone: true }),
  /** Of the file's text. */
  sha256: text('sha256').notNull(),
  at: timestamp('at', { withTimezone: true }).notNull().defaultNow(),
});

/** What the calls of an archived month took out of an escrow, or brought an operator. */
export const archivedSum = pgTable(
  'archived_sum',
  {
    month: text('month')
      .notNull()
      .references(() => archivedMonth.month),
    accountId: text('account_id').notNull(),
    nanousd: nanousd('nanousd').notNull(),
  },
  (t) => [primaryKey({ columns: [t.month, t.accountId] }), index('archived_sum_account').on(t.accountId)],
);

/** Money given back for a call: why, and under which reference. Its txn is of the kind `refund`. Append-only by trigger. */
export const refund = pgTable(
  'refund',
  {
    txnId: uuid('txn_id')
      .primaryKey()
      .references(() => txn.id),
    callId: uuid('call_id').notNull(),
    nanousd: nanousd('nanousd').notNull(),
    /** What of it came out of the operator's earnings; the host gave the rest. */
    operatorNanousd: nanousd('operator_nanousd').notNull(),
    reason: text('reason').notNull(),
    reference: text('reference').notNull(),
  },
  (t) => [
    unique('refund_reference_once').on(t.callId, t.reference),
    check('refund_share_within_refund', sql`${t.nanousd} > 0 and ${t.operatorNanousd} between 0 and ${t.nanousd}`),
  ],
);

/** A record that could not be posted as it stood, for a person or a job to look at. */
export const settleException = pgTable('settle_exception', {
  callId: uuid('call_id').primaryKey(),
  reason: text('reason').notNull(),
  record: jsonb('record').notNull(),
  at: timestamp('at', { withTimezone: true }).notNull().defaultNow(),
});
