/** One client for the embedded Postgres and for DATABASE_URL, on Node and on Workers. */
import postgres from 'postgres';

/** postgres.js with `bigint` columns as `bigint`. */
export type Sql = postgres.Sql<{ bigint: bigint }>;

export interface Database {
  readonly sql: Sql;
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
  return { sql, close: () => sql.end({ timeout: 1 }) };
}
