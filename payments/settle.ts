/**
 * Settling: closed calls go into the database in batches, each in one statement. Exactly-once is the primary key of `call`:
 * only rows that were really inserted are summed and posted, so any batch may be sent again, by anybody, at any time.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sql } from '../db/connect.ts';
import { ARCHIVED_CHECK } from '../db/months.ts';
import { fileCall, postCalls, postShortCall } from './posting.ts';
import { constraintOf, errorCode, isTransient, pauseMsBefore, withDeadline } from './retry.ts';

/** A call to settle: its text by record.ts, and where its journal begins. */
export interface ClosedCall {
  readonly text: string;
  readonly segment: number | null;
}

export interface SettlerOptions {
  readonly sql: Sql;
  /** Hears of each call that is settled. */
  readonly settled: (call: ClosedCall) => void;
  /** Hears of errors that waiting does not mend, and of calls that were posted in another way than they should. */
  readonly report: (error: unknown) => void;
}

interface Batch {
  readonly calls: ClosedCall[];
  readonly committed: PromiseWithResolvers<void>;
}

const BATCH_CALLS_MAX = 1_000;
/** Statements under way at once, while there are full batches: the next is parsed while the last one is committed. */
const STATEMENTS_MAX = 2;
const BATCH_WAIT_MS = 5;
const STATEMENT_DEADLINE_MS = 10_000;
const CHECK_VIOLATION = '23514';
/** The checks that single calls of a batch may meet. */
const BALANCE_CHECK = 'account_balance_at_or_above_floor';

export class Settler {
  readonly #options: SettlerOptions;
  /** The batches that no statement has taken yet; the last one is being filled. */
  readonly #batches: Batch[] = [];
  /** All that are not committed, the oldest first. */
  readonly #pending: Batch[] = [];
  /** The errors that keep batches from being settled and that waiting does not mend. */
  readonly #failures = new Map<Batch, unknown>();
  #statements = 0;
  #waiting = 0;
  #stopped = false;

  constructor(options: SettlerOptions) {
    this.#options = options;
  }

  /** Hands a call over; resolves when it is committed. Never rejects: while the database is away it waits. */
  add(call: ClosedCall): Promise<void> {
    let batch = this.#batches.at(-1);
    if (batch === undefined || batch.calls.length >= BATCH_CALLS_MAX) {
      batch = { calls: [], committed: Promise.withResolvers() };
      this.#batches.push(batch);
      this.#pending.push(batch);
    }
    batch.calls.push(call);
    this.#waiting += 1;
    if (this.#statements < STATEMENTS_MAX && this.#statements < this.#batches.length) void this.#commitAll();
    return batch.committed.promise;
  }

  /** An error that keeps calls from being settled and that waiting does not mend; null while all is well. */
  get failure(): unknown {
    return this.#failures.values().next().value ?? null;
  }

  /** Resolves when everything handed over so far is committed. */
  async drain(): Promise<void> {
    await Promise.all(this.#pending.map(({ committed }) => committed.promise));
  }

  /** How many calls wait for their commit. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Gives up: what is not committed yet stays in the journal for the next start. */
  stop(): void {
    this.#stopped = true;
  }

  async #commitAll(): Promise<void> {
    this.#statements += 1;
    for (let batch = this.#batches[0]; batch !== undefined && !this.#stopped; batch = this.#batches[0]) {
      if (batch.calls.length < BATCH_CALLS_MAX) await sleep(BATCH_WAIT_MS);
      const due = this.#batches.shift();
      if (due !== undefined) await this.#commit(due);
    }
    this.#statements -= 1;
  }

  async #commit(batch: Batch): Promise<void> {
    for (let attempt = 0; !this.#stopped; attempt++) {
      try {
        await this.#post(batch.calls);
        this.#failures.delete(batch);
        this.#pending.splice(this.#pending.indexOf(batch), 1);
        this.#waiting -= batch.calls.length;
        for (const call of batch.calls) this.#options.settled(call);
        batch.committed.resolve();
        return;
      } catch (error) {
        if (!isTransient(error)) this.#fail(batch, error);
        await sleep(pauseMsBefore(attempt));
      }
    }
  }

  /** Posts calls; those that their lease does not cover come last, so that they take nothing from the others. */
  async #post(calls: readonly ClosedCall[]): Promise<void> {
    for (const { text } of await this.#postCovered(calls)) {
      await withDeadline(postShortCall(this.#options.sql, text, 'escrow_short'), STATEMENT_DEADLINE_MS);
    }
  }

  /**
   * Posts calls together; where a balance does not suffice, in halves, down to the calls that lack it: these it answers. A call of a
   * month that is archived may have been settled then, so it is only filed.
   */
  async #postCovered(calls: readonly ClosedCall[]): Promise<ClosedCall[]> {
    try {
      const texts = calls.map(({ text }) => text);
      await withDeadline(postCalls(this.#options.sql, texts), STATEMENT_DEADLINE_MS);
      return [];
    } catch (error) {
      const check = errorCode(error) === CHECK_VIOLATION ? constraintOf(error) : '';
      if (check !== BALANCE_CHECK && check !== ARCHIVED_CHECK) throw error;
      const [first, ...others] = calls;
      if (first !== undefined && others.length === 0) {
        this.#options.report(error);
        if (check === BALANCE_CHECK) return [first];
        await withDeadline(fileCall(this.#options.sql, first.text, 'month_archived'), STATEMENT_DEADLINE_MS);
        return [];
      }
      const half = calls.length >> 1;
      return [...(await this.#postCovered(calls.slice(0, half))), ...(await this.#postCovered(calls.slice(half)))];
    }
  }

  #fail(batch: Batch, error: unknown): void {
    if (!this.#failures.has(batch)) this.#options.report(error);
    this.#failures.set(batch, error);
  }
}
