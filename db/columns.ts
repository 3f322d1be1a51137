import { bigint, timestamp } from 'drizzle-orm/pg-core';

/** A column of nano-USD: `bigint` in Postgres and in JavaScript. */
export const nanousd = (name: string) => bigint(name, { mode: 'bigint' });

export const createdAt = () => timestamp('created_at', { withTimezone: true }).notNull().defaultNow();
