/** The table of what goes out to wallets: withdrawals of agents and payouts to operators. */
import { sql } from 'drizzle-orm';
import { bigint, check, index, integer, pgTable, text, timestamp, unique, uuid } from 'drizzle-orm/pg-core';
import { createdAt, nanousd } from './columns.ts';
import { account } from './schema.ts';

/**
 * One transfer out of the treasury. All that its signature covers is fixed when it is booked, its nonce on chain is the hash of its
 * id: there is one authorization for it ever, which the token carries out once or, from `valid_before` on, never.
 */
export const payout = pgTable(
  'payout',
  {
    id: text('id').primaryKey(),
    /** Whose money: an agent's `acct_…` for a withdrawal, an operator's `op_…` for its payout. */
    accountId: text('account_id')
      .notNull()
      .references(() => account.id),
    reference: text('reference').notNull(),
    network: text('network').notNull(),
    /** Addresses, in lower case: the token, the treasury, and who gets it. */
    asset: text('asset').notNull(),
    payer: text('payer').notNull(),
    payee: text('payee').notNull(),
    nanousd: nanousd('nanousd').notNull(),
    /** Seconds since 1970, by the clock of the chain. */
    validBefore: bigint('valid_before', { mode: 'bigint' }).notNull(),
    state: text('state').notNull().default('pending'),
    /** The chain's head before it was first sent: its transfer is not in an older block. */
    sinceBlock: bigint('since_block', { mode: 'bigint' }),
    /** The batch that it was last sent in, and how often it was. */
    batchId: uuid('batch_id'),
    batchedAt: timestamp('batched_at', { withTimezone: true }),
    attempts: integer('attempts').notNull().default(0),
    /** The transaction that paid it. */
    transaction: text('transaction'),
    /** What last stood in its way. */
    reason: text('reason'),
    createdAt: createdAt(),
    settledAt: timestamp('settled_at', { withTimezone: true }),
  },
  (t) => [
    unique('payout_reference_once').on(t.accountId, t.reference),
    index('payout_account').on(t.accountId, t.id),
    index('payout_pending').on(t.id).where(sql`${t.state} = 'pending'`),
    check('payout_state_known', sql`${t.state} in ('pending', 'paid', 'returned')`),
    check('payout_whole_units', sql`${t.nanousd} > 0 and ${t.nanousd} % 1000 = 0`),
    check('payout_paid_by_transaction', sql`(${t.state} = 'paid') = (${t.transaction} is not null)`),
  ],
);
