/** The tables of wallets, of what they paid, and of the transactions that this side sends to a chain. */
import { sql } from 'drizzle-orm';
import {
  bigint,
  check,
  index,
  integer,
  pgTable,
  text,
  timestamp,
  unique,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core';
import { createdAt, nanousd } from './columns.ts';
import { agent } from './schema.ts';

/** A payer on a chain, by its CAIP-10 name in lower case (`eip155:8453:0x…`), and the account that its payments fill. */
export const wallet = pgTable('wallet', {
  id: text('id').primaryKey(),
  accountId: text('account_id')
    .notNull()
    .unique()
    .references(() => agent.id),
  createdAt: createdAt(),
});

/**
 * One signed payment, reserved here before anyone looks at it. Its id is a hash of all that was signed and of the signature, so that a
 * stranger's forgery cannot take the place of the real one; what it authorises can move money once: see the unique index. A state
 * never goes back.
 */
export const payment = pgTable(
  'payment',
  {
    id: text('id').primaryKey(),
    method: text('method').notNull(),
    network: text('network').notNull(),
    asset: text('asset').notNull(),
    /** The signer, the receiver and the nonce of the EIP-3009 authorization. */
    payer: text('payer').notNull(),
    payee: text('payee').notNull(),
    nonce: text('nonce').notNull(),
    signature: text('signature').notNull(),
    /** In the smallest unit of the asset, and what that is in our own. */
    value: bigint('value', { mode: 'bigint' }).notNull(),
    nanousd: nanousd('nanousd').notNull(),
    validAfter: bigint('valid_after', { mode: 'bigint' }).notNull(),
    validBefore: bigint('valid_before', { mode: 'bigint' }).notNull(),
    /** The chain's head before it was sent: its transfer is not in an older block. */
    sinceBlock: bigint('since_block', { mode: 'bigint' }),
    state: text('state').notNull().default('reserved'),
    /** Whose account it fills: that of the key which came with it, otherwise the payer's own. */
    accountId: text('account_id'),
    transaction: text('transaction'),
    /** Why it failed. */
    reason: text('reason'),
    /** When a gateway with keys is to send it: one without any has entrusted it. Null where who reserved it sends it, and when it was sent. */
    sendAt: timestamp('send_at', { withTimezone: true }),
    /** When its one call without a key began. */
    claimedAt: timestamp('claimed_at', { withTimezone: true }),
    createdAt: createdAt(),
    changedAt: timestamp('changed_at', { withTimezone: true }).notNull().defaultNow(),
  },
  (t) => [
    uniqueIndex('payment_authorization_once')
      .on(t.network, t.asset, t.payer, t.nonce)
      .where(sql`${t.state} in ('settling', 'unknown', 'settled')`),
    index('payment_open').on(t.changedAt).where(sql`${t.state} in ('reserved', 'settling', 'unknown')`),
    index('payment_entrusted')
      .on(t.sendAt)
      .where(sql`${t.sendAt} is not null and ${t.state} in ('settling', 'unknown')`),
    check('payment_state_known', sql`${t.state} in ('reserved', 'settling', 'settled', 'failed', 'unknown')`),
    check('payment_amount_positive', sql`${t.value} > 0 and ${t.nanousd} > 0`),
    check(
      'payment_settled_whole',
      sql`${t.state} <> 'settled' or (${t.accountId} is not null and ${t.transaction} is not null)`,
    ),
  ],
);

/** A key that pays the gas, by its CAIP-10 name, and the nonce of its next transaction: given out here, to all gateways. */
export const signer = pgTable('signer', {
  id: text('id').primaryKey(),
  nextNonce: bigint('next_nonce', { mode: 'bigint' }).notNull(),
});

/** A transaction of ours. Its bytes are here before any node sees them, so whoever finds it can send the very same again. */
export const chainTransaction = pgTable(
  'chain_transaction',
  {
    id: uuid('id').primaryKey(),
    /** What it is for, such as `payment:…`: one transaction each. */
    purpose: text('purpose').notNull().unique(),
    signerId: text('signer_id')
      .notNull()
      .references(() => signer.id),
    nonce: bigint('nonce', { mode: 'bigint' }).notNull(),
    to: text('to').notNull(),
    data: text('data').notNull(),
    gas: bigint('gas', { mode: 'bigint' }).notNull(),
    maxFeePerGas: bigint('max_fee_per_gas', { mode: 'bigint' }),
    priorityFeePerGas: bigint('priority_fee_per_gas', { mode: 'bigint' }),
    raw: text('raw'),
    hash: text('hash'),
    replacements: integer('replacements').notNull().default(0),
    state: text('state').notNull().default('pending'),
    createdAt: createdAt(),
    sentAt: timestamp('sent_at', { withTimezone: true }).notNull().defaultNow(),
  },
  (t) => [
    unique('chain_transaction_nonce_once').on(t.signerId, t.nonce),
    index('chain_transaction_pending').on(t.signerId, t.nonce).where(sql`${t.state} = 'pending'`),
    check('chain_transaction_state_known', sql`${t.state} in ('pending', 'mined')`),
  ],
);

/** Nonces of sign-ins that were used, until they would have ended by themselves. */
export const usedNonce = pgTable(
  'used_nonce',
  {
    nonce: text('nonce').primaryKey(),
    endsAt: timestamp('ends_at', { withTimezone: true }).notNull(),
  },
  (t) => [index('used_nonce_end').on(t.endsAt)],
);
