/** One client for the embedded Postgres and for DATABASE_URL, on Node and on Workers. */
import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import * as ledger from './schema.ts';
import * as calls from './schema-calls.ts';
import * as keys from './schema-keys.ts';

const schema = { ...ledger, ...calls, ...keys };

/** postgres.js with `bigint` columns as `bigint`. */
export type Sql = postgres.Sql<{ bigint: bigint }>;

export interface Database {
  /** For ledger statements: hand-written, single, safe to retry. */
  readonly sql: Sql;
  /** For everything else. */
  readonly orm: PostgresJsDatabase<typeof schema>;
  close(): Promise<void>;
}

/**
 * Connects lazily. `fetch_types` stays off: with it postgres.js raises unhandled rejections when the server dies
 * (porsager/postgres#1223), so arrays travel as JSON or as literals with a cast.
 */
export function connect(url: string, options: { max: number } = { max: 10 }): Database {
  const sql: Sql = postgres(url, {
    max: options.max,
    fetch_types: false,
    connect_timeout: 5,
    idle_timeout: 60,
    onnotice: () => {},
    types: { bigint: postgres.BigInt },
    connection: { application_name: 'faregate', statement_timeout: 15_000 },
  });
  return { sql, orm: drizzle(sql, { schema }), close: () => sql.end({ timeout: 1 }) };
}
