/** What is written down about a call, once: the same text goes into the journal and into the settle statement. */
import type { Nanousd } from './money.ts';
import type { Price } from './prices.ts';

export type Outcome = 'complete' | 'aborted' | 'failed';

/** What is known before a call is dispatched. */
export interface Opening {
  readonly endpoint: string;
  readonly model: string;
  readonly streamed: boolean;
  readonly price: Price;
}

/** What a call used and who served it, at its end or so far. Counts and milliseconds are whole. */
export interface Closing extends Opening {
  readonly outcome: Outcome;
  readonly workerId: string | null;
  readonly operatorId: string | null;
  readonly operatorSharePpm: number;
  readonly region: string | null;
  readonly attempts: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
  readonly queueMs: number | null;
  readonly ttftMs: number | null;
  readonly billedMs: number;
  readonly totalMs: number;
}

/** Whose money a call holds, and how much. */
export interface Holding {
  readonly callId: string;
  readonly accountId: string;
  readonly keyId: string;
  readonly leaseId: string;
  readonly amount: Nanousd;
}

/** A closing in which nothing was used yet. */
export function unused(opening: Opening, outcome: Outcome): Closing {
  return {
    ...opening,
    outcome,
    workerId: null,
    operatorId: null,
    operatorSharePpm: 0,
    region: null,
    attempts: 0,
    promptTokens: 0,
    cachedTokens: 0,
    completionTokens: 0,
    queueMs: null,
    ttftMs: null,
    billedMs: 0,
    totalMs: 0,
  };
}

/**
 * The call as one JSON object whose members are the columns of the `call` table; money as decimal strings.
 * Throws a RangeError on a count that its column cannot hold: one such record would hold up all settling.
 */
export function recordText(holding: Holding, closing: Closing, money: { charged: Nanousd; share: Nanousd }): string {
  return JSON.stringify({
    id: holding.callId,
    account_id: holding.accountId,
    key_id: holding.keyId,
    lease_id: holding.leaseId,
    endpoint: closing.endpoint,
    model: closing.model,
    worker_id: closing.workerId,
    operator_id: closing.operatorId,
    region: closing.region,
    outcome: closing.outcome,
    streamed: closing.streamed,
    attempts: count(closing.attempts),
    prompt_tokens: count(closing.promptTokens),
    cached_tokens: count(closing.cachedTokens),
    completion_tokens: count(closing.completionTokens),
    held_nanousd: holding.amount.toString(),
    charged_nanousd: money.charged.toString(),
    operator_nanousd: money.share.toString(),
    price_version: closing.price.version,
    queue_ms: closing.queueMs === null ? null : count(closing.queueMs),
    ttft_ms: closing.ttftMs === null ? null : count(closing.ttftMs),
    billed_ms: count(closing.billedMs),
    total_ms: count(closing.totalMs),
  });
}

/** A whole number that fits a Postgres `integer`. */
function count(value: number): number {
  if (value < 0 || (value | 0) !== value) throw new RangeError(`${value} is no count`);
  return value;
}
