/** The table of payment channels: what a wallet deposited on a chain, and by vouchers lets us claim of it. */
import { sql } from 'drizzle-orm';
import { bigint, check, index, integer, jsonb, pgTable, text, timestamp, uuid } from 'drizzle-orm/pg-core';
import { createdAt, nanousd } from './columns.ts';
import { agent } from './schema.ts';

const units = (name: string) => bigint(name, { mode: 'bigint' });

/**
 * One channel of x402's scheme `batch-settlement`, by its id on the chain, with an account of its own: `credited` is what vouchers
 * brought into that account, and what of it calls were charged may be claimed. Amounts in units are in the smallest unit of the token.
 */
export const channel = pgTable(
  'channel',
  {
    id: text('id').primaryKey(),
    network: text('network').notNull(),
    /** The wallet that deposits, by its CAIP-10 name. */
    payer: text('payer').notNull(),
    /** The members that make its id. */
    config: jsonb('config').notNull(),
    accountId: text('account_id')
      .notNull()
      .unique()
      .references(() => agent.id),
    /** As last seen on the chain. */
    balanceUnits: units('balance_units').notNull(),
    claimedUnits: units('claimed_units').notNull(),
    refundNonce: units('refund_nonce').notNull(),
    /** Seconds since 1970; 0: no withdrawal waits. */
    withdrawRequestedAt: units('withdraw_requested_at').notNull(),
    syncedAt: timestamp('synced_at', { withTimezone: true }).notNull().defaultNow(),
    /** The voucher with the highest ceiling. */
    signedUnits: units('signed_units').notNull().default(sql`0`),
    signature: text('signature'),
    /** What the payer was told that it has spent: its next voucher begins here. */
    announcedUnits: units('announced_units').notNull(),
    /** What had been claimed before its first voucher here: credits begin there. */
    openedNanousd: nanousd('opened_nanousd').notNull(),
    creditedNanousd: nanousd('credited_nanousd').notNull(),
    /** At most what calls were charged; exactly, unless a gateway died in one. */
    spentNanousd: nanousd('spent_nanousd').notNull(),
    /** The one request in flight, until when its gateway stands for it, and the most that its payer may be told. */
    requestId: uuid('request_id'),
    requestUntil: timestamp('request_until', { withTimezone: true }),
    requestAnnouncedUnits: units('request_announced_units'),
    /** The transaction that claims, and up to where. */
    claimId: uuid('claim_id'),
    claimingUnits: units('claiming_units'),
    claimedAt: timestamp('claimed_at', { withTimezone: true }).notNull().defaultNow(),
    /** Counts changes: a change is made to the state that was looked at, or not at all. */
    version: integer('version').notNull().default(0),
    createdAt: createdAt(),
  },
  (t) => [
    index('channel_payer').on(t.payer),
    index('channel_claiming').on(t.claimId).where(sql`${t.claimId} is not null`),
    index('channel_unclaimed').on(t.claimedAt).where(sql`${t.claimId} is null`),
    check('channel_signed', sql`${t.signedUnits} = 0 or ${t.signature} is not null`),
    check('channel_spent_of_credit', sql`${t.spentNanousd} between 0 and ${t.creditedNanousd}`),
    check(
      'channel_request_whole',
      sql`(${t.requestId} is null) = (${t.requestUntil} is null) and (${t.requestId} is null) = (${t.requestAnnouncedUnits} is null)`,
    ),
    check('channel_claim_whole', sql`(${t.claimId} is null) = (${t.claimingUnits} is null)`),
  ],
);

/**
 * What a gateway without keys asks of those that have them: a deposit that they are to bring, or a refund that they are to make. Each is done
 * by one of them, at most once, and answered here.
 */
export const channelErrand = pgTable(
  'channel_errand',
  {
    id: uuid('id').primaryKey(),
    /** The address of the key that is needed. */
    authorizer: text('authorizer').notNull(),
    /** The payment as its client sent it. */
    sent: jsonb('sent').notNull(),
    takenAt: timestamp('taken_at', { withTimezone: true }),
    answer: jsonb('answer'),
    createdAt: createdAt(),
  },
  (t) => [
    index('channel_errand_open').on(t.authorizer, t.id).where(sql`${t.takenAt} is null`),
    index('channel_errand_age').on(t.createdAt),
    check('channel_errand_answered_by_taker', sql`${t.answer} is null or ${t.takenAt} is not null`),
  ],
);
