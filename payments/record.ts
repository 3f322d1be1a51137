/** What is written down about a call: the same text goes into the journal and into the settle statement. */
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

/** The columns of the `call` table that are known before a call is dispatched, in the order of a record. */
const OPENING_COLUMNS = [
  'id',
  'account_id',
  'key_id',
  'lease_id',
  'endpoint',
  'model',
  'streamed',
  'held_nanousd',
  'price_version',
];
/** The others, in their order after those; of a call that used nothing. */
const NOTHING = {
  worker_id: null,
  operator_id: null,
  region: null,
  outcome: 'aborted',
  attempts: 0,
  prompt_tokens: 0,
  cached_tokens: 0,
  completion_tokens: 0,
  charged_nanousd: '0',
  operator_nanousd: '0',
  queue_ms: null,
  ttft_ms: null,
  billed_ms: 0,
  total_ms: 0,
};
const COLUMNS = [...OPENING_COLUMNS, ...Object.keys(NOTHING)];

/**
 * What is known of a call before it is dispatched, as a JSON array of its columns; money as decimal strings. Names would be half of what is
 * written and sent. Written out, as it is made for each call: ids are words of ours without anything to escape, other people's words are not.
 */
export function openingText(holding: Holding, opening: Opening): string {
  return `${beginning(holding, opening)}]`;
}

/**
 * The call with all its columns: what it began with, and what became of it.
 * Throws a RangeError on a count that its column cannot hold: one such record would hold up all settling.
 */
export function recordText(holding: Holding, closing: Closing, money: { charged: Nanousd; share: Nanousd }): string {
  const { workerId, operatorId, region, outcome, attempts } = closing;
  const { promptTokens, cachedTokens, completionTokens, queueMs, ttftMs, billedMs, totalMs } = closing;
  const who = `${idOrNull(workerId)},${idOrNull(operatorId)},${wordOrNull(region)},"${outcome}",${count(attempts)}`;
  const tokens = `${count(promptTokens)},${count(cachedTokens)},${count(completionTokens)}`;
  const times = `${countOrNull(queueMs)},${countOrNull(ttftMs)},${count(billedMs)},${count(totalMs)}`;
  return `${beginning(holding, closing)},${who},${tokens},"${money.charged}","${money.share}",${times}]`;
}

function beginning({ callId, accountId, keyId, leaseId, amount }: Holding, opening: Opening): string {
  const { endpoint, model, streamed, price } = opening;
  const whose = `["${callId}","${accountId}","${keyId}","${leaseId}"`;
  return `${whose},"${endpoint}",${wordOrNull(model)},${streamed},"${amount}",${price.version}`;
}

/** A call that was cut off at its opening, or at a record of what it had come to: aborted there. */
export function cutOffText(last: string): string {
  return recordOf({ ...NOTHING, ...columnsOf(last), outcome: 'aborted' });
}

/** A record's columns by their names: for people to read, and what journals had before version 3. */
export function columnsOf(record: string): Record<string, unknown> {
  const values = JSON.parse(record) as unknown[];
  return Object.fromEntries(values.map((value, at) => [COLUMNS[at], value]));
}

/** The record of such columns: an opening where there are no others. */
export function recordOf(columns: Readonly<Record<string, unknown>>): string {
  const isWhole = Object.keys(NOTHING).some((name) => name in columns);
  return JSON.stringify((isWhole ? COLUMNS : OPENING_COLUMNS).map((name) => columns[name]));
}

/** An id of ours as JSON. */
export function idOrNull(id: string | null): string {
  return id === null ? 'null' : `"${id}"`;
}

const words = new Map<string, string>();
const WORDS_MAX = 1_000;

/** Other people's word as JSON: models and regions are few, and come with every call. */
function wordOrNull(word: string | null): string {
  if (word === null) return 'null';
  const known = words.get(word);
  if (known !== undefined) return known;
  if (words.size >= WORDS_MAX) words.clear();
  const text = JSON.stringify(word);
  words.set(word, text);
  return text;
}

function countOrNull(value: number | null): number | null {
  return value === null ? null : count(value);
}

/** A whole number that fits a Postgres `integer`. */
function count(value: number): number {
  if (value < 0 || (value | 0) !== value) throw new RangeError(`${value} is no count`);
  return value;
}
