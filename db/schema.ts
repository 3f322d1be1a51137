/** The tables. Ledger rules are constraints here first; payments/ keeps them by statements that cannot break them. */
import { sql } from 'drizzle-orm';
import {
  bigint,
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
import { createdAt, nanousd } from './columns.ts';

/**
 * A balance of the double-entry ledger. An agent's prepaid account has the id `acct_…`, an operator's earnings the id
 * `op_…`, an escrow the id of its lease; `world`, `revenue`, `shortfall`, `fees`, `payout_pending` are named after their kind.
 */
export const account = pgTable(
  'account',
  {
    id: text('id').primaryKey(),
    kind: text('kind').notNull(),
    owner: text('owner'),
    balance: nanousd('balance').notNull().default(sql`0`),
    floor: nanousd('floor').notNull().default(sql`0`),
    createdAt: createdAt(),
  },
  (t) => [
    check('account_balance_at_or_above_floor', sql`${t.balance} >= ${t.floor}`),
    check(
      'account_kind_known',
      sql`${t.kind} in ('world', 'prepaid', 'escrow', 'earnings', 'revenue', 'payout_pending', 'shortfall', 'fees')`,
    ),
    index('account_owner').on(t.owner),
  ],
);

/** One movement of money; its entries sum to 0. Deposits are unique by (kind, ref). Append-only by trigger. */
export const txn = pgTable(
  'txn',
  {
    id: uuid('id').primaryKey(),
    kind: text('kind').notNull(),
    ref: text('ref'),
    at: timestamp('at', { withTimezone: true }).notNull().defaultNow(),
  },
  (t) => [
    unique('txn_ref_once').on(t.kind, t.ref),
    check(
      'txn_kind_known',
      sql`${t.kind} in ('deposit', 'unspent', 'credit_lost', 'grant', 'return', 'settle', 'refund', 'withdrawal', 'payout', 'payout_paid', 'payout_returned')`,
    ),
  ],
);

/** One signed side of a txn. Append-only by trigger. */
export const entry = pgTable(
  'entry',
  {
    txnId: uuid('txn_id')
      .notNull()
      .references(() => txn.id),
    accountId: text('account_id')
      .notNull()
      .references(() => account.id),
    amount: nanousd('amount').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.txnId, t.accountId] }),
    index('entry_account').on(t.accountId, t.txnId),
    check('entry_amount_not_zero', sql`${t.amount} <> 0`),
  ],
);

/** A gateway process that holds leases: its identity is its journal directory, its epoch fences older lives of it. */
export const instance = pgTable('instance', {
  id: text('id').primaryKey(),
  epoch: integer('epoch').notNull(),
  startedAt: timestamp('started_at', { withTimezone: true }).notNull().defaultNow(),
});

/** Money that one life of an instance may spend for one agent; the escrow account of the same id holds it. */
export const lease = pgTable(
  'lease',
  {
    id: text('id').primaryKey(),
    instanceId: text('instance_id')
      .notNull()
      .references(() => instance.id),
    epoch: integer('epoch').notNull(),
    accountId: text('account_id').notNull(),
    /** The budgets that its money counts against: those of the caller's key and of the keys above it. */
    budgets: text('budgets').array(),
    granted: nanousd('granted').notNull(),
    state: text('state').notNull().default('open'),
    expiresAt: timestamp('expires_at', { withTimezone: true }).notNull(),
    /** How often other instances asked for what is not used, and up to which of these calls the holder answered. */
    recalled: integer('recalled').notNull().default(0),
    answered: integer('answered').notNull().default(0),
    /** Since when the first of those that are not answered waits. */
    recalledAt: timestamp('recalled_at', { withTimezone: true }),
    createdAt: createdAt(),
  },
  (t) => [
    index('lease_open_by_expiry').on(t.expiresAt).where(sql`${t.state} = 'open'`),
    index('lease_open_of_instance').on(t.instanceId).where(sql`${t.state} = 'open'`),
    index('lease_open_of_account').on(t.accountId).where(sql`${t.state} = 'open'`),
    check('lease_state_known', sql`${t.state} in ('open', 'closed')`),
  ],
);

/**
 * What a key and all keys below it may spend, in all or in each window of so many seconds since 1970; its id is the key's. A window's
 * first update, by trigger, begins with nothing spent.
 */
export const budget = pgTable(
  'budget',
  {
    id: text('id').primaryKey(),
    windowSeconds: integer('window_seconds'),
    limitNanousd: nanousd('limit_nanousd').notNull(),
    /** What was settled in the window, and what leases may still spend. */
    spent: nanousd('spent').notNull().default(sql`0`),
    leased: nanousd('leased').notNull().default(sql`0`),
    /** What calls that were found after their lease was returned cost beyond the limit: see `postShortCall`. */
    overrun: nanousd('overrun').notNull().default(sql`0`),
    windowIndex: bigint('window_index', { mode: 'bigint' }).notNull().default(sql`0`),
  },
  (t) => [
    check('budget_within_limit', sql`${t.spent} + ${t.leased} <= ${t.limitNanousd} + ${t.overrun}`),
    check('budget_not_negative', sql`${t.spent} >= 0 and ${t.leased} >= 0 and ${t.limitNanousd} >= 0`),
    check('budget_window_positive', sql`${t.windowSeconds} > 0`),
  ],
);

export const agent = pgTable('agent', {
  id: text('id')
    .primaryKey()
    .references(() => account.id),
  name: text('name').notNull(),
  createdAt: createdAt(),
});

/** One state of a model's price: nano-USD per million tokens and per millisecond. Never changed, only followed by the next. */
export const priceVersion = pgTable(
  'price_version',
  {
    version: integer('version').primaryKey().generatedAlwaysAsIdentity(),
    model: text('model').notNull(),
    input: nanousd('input').notNull(),
    cachedInput: nanousd('cached_input').notNull(),
    output: nanousd('output').notNull(),
    perMs: nanousd('per_ms').notNull(),
    createdAt: createdAt(),
  },
  (t) => [
    check(
      'price_not_negative',
      sql`${t.input} >= 0 and ${t.cachedInput} >= 0 and ${t.output} >= 0 and ${t.perMs} >= 0 and ${t.cachedInput} <= ${t.input}`,
    ),
  ],
);

/** A model that the host sells, with the price version in force. */
export const model = pgTable('model', {
  id: text('id').primaryKey(),
  priceVersion: integer('price_version')
    .notNull()
    .references(() => priceVersion.version),
  createdAt: createdAt(),
});

export const operator = pgTable(
  'operator',
  {
    id: text('id')
      .primaryKey()
      .references(() => account.id),
    name: text('name').notNull(),
    sharePpm: integer('share_ppm').notNull(),
    /** Where its payouts go, in lower case; null: nowhere yet. */
    payoutAddress: text('payout_address'),
    createdAt: createdAt(),
  },
  (t) => [check('operator_share_within_whole', sql`${t.sharePpm} between 0 and 1000000`)],
);

/** One registered endpoint that can serve calls. */
export const worker = pgTable(
  'worker',
  {
    id: text('id').primaryKey(),
    operator: text('operator')
      .notNull()
      .references(() => operator.id),
    url: text('url').notNull(),
    engineKey: text('engine_key'),
    models: jsonb('models').notNull(),
    country: text('country').notNull(),
    region: text('region').notNull(),
    slots: integer('slots').notNull(),
    gpu: text('gpu'),
    state: text('state').notNull(),
    createdAt: createdAt(),
    removedAt: timestamp('removed_at', { withTimezone: true }),
  },
  (t) => [
    index('worker_operator').on(t.operator),
    check('worker_slots_positive', sql`${t.slots} > 0`),
    check(
      'worker_state_known',
      sql`${t.state} in ('verifying', 'probation', 'active', 'degraded', 'quarantined', 'draining')`,
    ),
  ],
);
