/**
 * Settling: closed calls go into the database in batches, each in one statement. Exactly-once is the primary key of `call`:
 * only rows that were really inserted are summed and posted, so any batch may be sent again, by anybody, at any time.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sql } from '../db/connect.ts';
import { ARCHIVED_CHECK } from '../db/months.ts';
import { Batch, type ClosedCall } from './batch.ts';
import { fileCall, postCalls, postShortCall } from './posting.ts';
import { constraintOf, errorCode, isTransient, pauseMsBefore, withDeadline } from './retry.ts';

export interface SettlerOptions {
  readonly sql: Sql;
  /** Hears how many calls are settled whose journal begins in a segment. */
  readonly settled: (segment: number, calls: number) => void;
  /** How long a batch fills when nobody waits for it; see `FILL_MS`. */
  readonly fillMs?: number;
  /** Hears of errors that waiting does not mend, and of calls that were posted in another way than they should. */
  readonly report: (error: unknown) => void;
}

const BATCH_CALLS_MAX = 4_000;
/** Statements under way at once, while there are full batches: the next is parsed while the last one is committed. */
const STATEMENTS_MAX = 2;
/** How long a batch fills when nobody waits for it: what each statement costs the database is then spread over as many calls as there are. */
const FILL_MS = 200;
/** And when somebody does: others may wait for theirs. */
const WANTED_FILL_MS = 5;
const STATEMENT_DEADLINE_MS = 10_000;
const CHECK_VIOLATION = '23514';
/** The checks that single calls of a batch may meet. */
const BALANCE_CHECK = 'account_balance_at_or_above_floor';

export class Settler {
  readonly #options: SettlerOptions;
  /** The batch that new calls go into. */
  #open: Batch | null = null;
  /** The batches that no statement has taken yet. */
  readonly #untaken: Batch[] = [];
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

  /** Hands a call over; resolves when it is committed: see `hurry`. Never rejects: while the database is away it waits. */
  add(call: ClosedCall): Promise<void> {
    const batch = this.#open ?? this.#begin();
    batch.add(call);
    this.#waiting += 1;
    if (batch.size >= BATCH_CALLS_MAX) {
      this.#open = null;
      batch.wanted.resolve('wanted');
    }
    if (this.#statements < STATEMENTS_MAX && this.#statements < this.#untaken.length) void this.#commitAll();
    return batch.committed.promise;
  }

  /** An error that keeps calls from being settled and that waiting does not mend; null while all is well. */
  get failure(): unknown {
    return this.#failures.values().next().value ?? null;
  }

  /** Somebody waits for what was handed over so far. */
  hurry(): void {
    for (const { wanted } of this.#pending) wanted.resolve('wanted');
  }

  /** Resolves when everything handed over so far is committed. */
  async drain(): Promise<void> {
    this.hurry();
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

  #begin(): Batch {
    const batch = new Batch();
    this.#open = batch;
    this.#untaken.push(batch);
    this.#pending.push(batch);
    return batch;
  }

  async #commitAll(): Promise<void> {
    this.#statements += 1;
    for (let batch = this.#untaken.shift(); batch !== undefined && !this.#stopped; batch = this.#untaken.shift()) {
      await filled(batch, this.#options.fillMs ?? FILL_MS);
      if (this.#open === batch) this.#open = null;
      await this.#commit(batch);
    }
    this.#statements -= 1;
  }

  async #commit(batch: Batch): Promise<void> {
    for (let attempt = 0; !this.#stopped; attempt++) {
      try {
        await this.#post(batch);
        this.#failures.delete(batch);
        this.#pending.splice(this.#pending.indexOf(batch), 1);
        this.#waiting -= batch.size;
        for (const [segment, calls] of batch.segments) this.#options.settled(segment, calls);
        batch.committed.resolve();
        return;
      } catch (error) {
        if (!isTransient(error)) this.#fail(batch, error);
        await sleep(pauseMsBefore(attempt));
      }
    }
  }

  /** Posts calls; those that their lease does not cover come last, so that they take nothing from the others. */
  async #post(batch: Batch): Promise<void> {
    for (const record of await this.#postCovered(batch, 0, batch.size)) {
      await withDeadline(postShortCall(this.#options.sql, record, 'escrow_short'), STATEMENT_DEADLINE_MS);
    }
  }

  /**
   * Posts a part of a batch at once; where a balance does not suffice, in halves, down to the calls that lack it: their records it answers. A
   * call of a month that is archived may have been settled then, so it is only filed.
   */
  async #postCovered(batch: Batch, from: number, to: number): Promise<string[]> {
    try {
      await withDeadline(postCalls(this.#options.sql, batch.list(from, to)), STATEMENT_DEADLINE_MS);
      return [];
    } catch (error) {
      const check = errorCode(error) === CHECK_VIOLATION ? constraintOf(error) : '';
      if (check !== BALANCE_CHECK && check !== ARCHIVED_CHECK) throw error;
      if (to - from > 1) {
        const middle = (from + to) >> 1;
        return [...(await this.#postCovered(batch, from, middle)), ...(await this.#postCovered(batch, middle, to))];
      }
      this.#options.report(error);
      const record = batch.record(from);
      if (check === BALANCE_CHECK) return [record];
      await withDeadline(fileCall(this.#options.sql, record, 'month_archived'), STATEMENT_DEADLINE_MS);
      return [];
    }
  }

  #fail(batch: Batch, error: unknown): void {
    if (!this.#failures.has(batch)) this.#options.report(error);
    this.#failures.set(batch, error);
  }
}

/** Resolves when the batch is as full as it is going to be. */
async function filled(batch: Batch, fillMs: number): Promise<void> {
  const fill = new AbortController();
  const end = await Promise.race([sleep(fillMs, 'filled', { signal: fill.signal }), batch.wanted.promise]);
  if (end === 'filled') return;
  fill.abort();
  if (batch.size < BATCH_CALLS_MAX) await sleep(WANTED_FILL_MS);
}
