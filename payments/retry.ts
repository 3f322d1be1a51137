/** How a ledger statement meets a database that is slow, away or coming back. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sql } from '../db/connect.ts';

/** SQLSTATE classes and codes after which the same statement may be sent again: connection, resources, shutdown, conflict. */
const TRANSIENT_SQLSTATE = /^(08|53|57)...$|^(40001|40P01|55P03|25006)$/;
/** What postgres.js and the system call a connection that is not there. */
const TRANSIENT_NAMES = new Set([
  'CONNECTION_CLOSED',
  'CONNECTION_DESTROYED',
  'CONNECTION_ENDED',
  'CONNECT_TIMEOUT',
  'EAI_AGAIN',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
  'STATEMENT_LATE',
]);

const FIRST_PAUSE_MS = 25;
const LONGEST_PAUSE_MS = 1_000;

class StatementLate extends Error {
  readonly code = 'STATEMENT_LATE';
}

/** The code of a Postgres, driver or system error, also of one that an ORM wrapped; empty when it has none. */
export function errorCode(error: unknown): string {
  if (!(error instanceof Error)) return '';
  const code = 'code' in error ? error.code : errorCode(error.cause);
  return typeof code === 'string' ? code : '';
}

/** The constraint that a statement would have broken; empty for other errors. */
export function constraintOf(error: unknown): string {
  const name = error instanceof Error && 'constraint_name' in error ? error.constraint_name : '';
  return typeof name === 'string' ? name : '';
}

/** True when the same statement may simply be sent again: all ledger statements are safe to repeat. */
export function isTransient(error: unknown): boolean {
  const code = errorCode(error);
  return TRANSIENT_SQLSTATE.test(code) || TRANSIENT_NAMES.has(code);
}

/**
 * The statement's rows, or an error when they are not here in time. A late statement may still commit: whoever repeats it
 * relies on its idempotency.
 */
export async function withDeadline<T>(statement: PromiseLike<T>, deadlineMs: number): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new StatementLate(`no answer in ${deadlineMs} ms`)), deadlineMs);
  try {
    return await Promise.race([statement, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** How long to wait before repetition number `attempt` (from 0): doubling, up to a second. */
export function pauseMsBefore(attempt: number): number {
  const pauseMs = FIRST_PAUSE_MS * 2 ** attempt;
  return pauseMs < LONGEST_PAUSE_MS ? pauseMs : LONGEST_PAUSE_MS;
}

/** Sends an idempotent statement until it is answered, at most for `limitMs`; other than transient errors end it at once. */
export async function repeat<T>(statement: () => PromiseLike<T>, limitMs: number): Promise<T> {
  const endMs = performance.now() + limitMs;
  for (let attempt = 0; ; attempt++) {
    try {
      return await withDeadline(statement(), endMs - performance.now());
    } catch (error) {
      const pauseMs = pauseMsBefore(attempt);
      if (!isTransient(error) || performance.now() + pauseMs >= endMs) throw error;
      await sleep(pauseMs);
    }
  }
}

/** Runs several statements as one. For the rare path: a single statement is quicker and as safe to repeat. */
export function inTransaction<T>(sql: Sql, work: (tx: Sql) => Promise<T>): Promise<T> {
  // postgres.js types a transaction apart from its client, though it has all of the client that a statement needs.
  return sql.begin((tx) => work(tx as unknown as Sql)) as Promise<T>;
}
