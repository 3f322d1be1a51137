/** The tables of payments by x402's scheme `upto`: signed maxima, of which a call's charge is moved when it is over. */
import { sql } from 'drizzle-orm';
import { bigint, check, index, jsonb, pgTable, text, timestamp, unique, uuid } from 'drizzle-orm/pg-core';
import { createdAt, nanousd } from './columns.ts';
import { agent } from './schema.ts';

/** Who pays so, by its CAIP-10 name, and the account that its calls are paid from: it has what open ones may cost, and no key is given out. */
export const uptoPayer = pgTable(
  'upto_payer',
  {
    id: text('id').primaryKey(),
    accountId: text('account_id')
      .notNull()
      .unique()
      .references(() => agent.id),
    /** What was lent to its account, in all, and what calls that are over were charged of it. */
    creditedNanousd: nanousd('credited_nanousd').notNull().default(sql`0`),
    spentNanousd: nanousd('spent_nanousd').notNull().default(sql`0`),
    /** How many of its maxima were settled: what the chain said before the last of them is no longer so. */
    settled: bigint('settled', { mode: 'bigint' }).notNull().default(sql`0`),
    createdAt: createdAt(),
  },
  (t) => [check('upto_spent_of_credit', sql`${t.spentNanousd} between 0 and ${t.creditedNanousd}`)],
);

/**
 * One signed maximum, good for one call. `open`: its call runs; `due`: what it was charged is to be moved; `settled`: that arrived; `burnt`:
 * there was nothing to move; `lost`: the chain refused it. It is kept: whatever became of it, it is taken no second time.
 */
export const uptoPayment = pgTable(
  'upto_payment',
  {
    id: uuid('id').primaryKey(),
    payerId: text('payer_id')
      .notNull()
      .references(() => uptoPayer.id),
    /** Of Permit2, as text: it has 256 bits. */
    nonce: text('nonce').notNull(),
    /** All that is needed to move the money. */
    permit: jsonb('permit').notNull(),
    /** Seconds since 1970: it can be moved until then. */
    deadline: bigint('deadline', { mode: 'bigint' }).notNull(),
    maxUnits: bigint('max_units', { mode: 'bigint' }).notNull(),
    /** The most that its call may be charged. */
    mostNanousd: nanousd('most_nanousd').notNull(),
    state: text('state').notNull().default('open'),
    chargedNanousd: nanousd('charged_nanousd'),
    chargedUnits: bigint('charged_units', { mode: 'bigint' }),
    transaction: text('transaction'),
    /** Until when its gateway stands for its call. */
    openUntil: timestamp('open_until', { withTimezone: true }).notNull(),
    createdAt: createdAt(),
  },
  (t) => [
    unique('upto_nonce_once').on(t.payerId, t.nonce),
    index('upto_undecided').on(t.payerId).where(sql`${t.state} in ('open', 'due')`),
    index('upto_lost').on(t.payerId).where(sql`${t.state} = 'lost'`),
    check('upto_state_known', sql`${t.state} in ('open', 'due', 'settled', 'burnt', 'lost')`),
    check('upto_charged_when_over', sql`(${t.state} = 'open') = (${t.chargedNanousd} is null)`),
    check('upto_within_maximum', sql`${t.chargedUnits} <= ${t.maxUnits} and ${t.chargedNanousd} <= ${t.mostNanousd}`),
  ],
);
