/** One client for the embedded Postgres and for DATABASE_URL, on Node and on Workers. */
import postgres from 'postgres';
import type { ServerAddress } from './watched-socket.ts';

/** postgres.js with `bigint` columns as `bigint`. */
export type Sql = postgres.Sql<{ bigint: bigint }>;

export interface Database {
  readonly sql: Sql;
  close(): Promise<void>;
}

/** The server ends every statement after this, unless it was told otherwise. */
export const STATEMENT_MS = 15_000;

export interface ConnectOptions {
  readonly max?: number;
  /** Makes the connections, where the runtime's own way is not good enough; see watched-socket.ts. */
  readonly socket?: (address: ServerAddress) => unknown;
}

/**
 * Connects lazily. `fetch_types` stays off: with it postgres.js raises unhandled rejections when the server dies
 * (porsager/postgres#1223), so arrays travel as JSON or as literals with a cast.
 */
export function connect(url: string, { max = 10, ...options }: ConnectOptions = {}): Database {
  const sql: Sql = postgres(url, {
    ...options,
    max,
    fetch_types: false,
    connect_timeout: 5,
    idle_timeout: 60,
    onnotice: () => {},
    types: { bigint: postgres.BigInt },
    connection: { application_name: 'faregate', statement_timeout: STATEMENT_MS },
  });
  return { sql, close: () => sql.end({ timeout: 1 }) };
}
