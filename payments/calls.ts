/** Settled calls as an agent sees them. */
import type { Sql } from '../db/connect.ts';
import type { Nanousd } from './money.ts';
import type { Outcome } from './record.ts';

/** One settled call. Times are whole milliseconds. */
export interface CallRow {
  readonly id: string;
  readonly accountId: string;
  readonly endpoint: string;
  readonly model: string;
  readonly workerId: string | null;
  readonly operatorId: string | null;
  readonly region: string | null;
  readonly outcome: Outcome;
  readonly streamed: boolean;
  readonly attempts: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
  readonly heldNanousd: Nanousd;
  readonly chargedNanousd: Nanousd;
  readonly operatorNanousd: Nanousd;
  /** Given back later, of the charge. */
  readonly refundedNanousd: Nanousd;
  readonly priceVersion: number;
  readonly queueMs: number | null;
  readonly ttftMs: number | null;
  readonly billedMs: number;
  readonly totalMs: number;
}

/** An account's settled calls, newest first; `after` is the id of the last call of the page before. */
export async function listCalls(
  sql: Sql,
  accountId: string,
  page: { limit: number; after: string | null },
): Promise<{ calls: CallRow[]; hasMore: boolean }> {
  const older = page.after === null ? sql`true` : sql`id < ${page.after}::uuid`;
  const rows = await sql<CallRow[]>`
    select ${columns(sql)} from call where account_id = ${accountId} and ${older}
    order by id desc limit ${page.limit + 1}`;
  return { calls: rows.slice(0, page.limit), hasMore: rows.length > page.limit };
}

/** One settled call of an account; undefined when the account has no such call. */
export async function getCall(sql: Sql, accountId: string, id: string): Promise<CallRow | undefined> {
  const [row] = await sql<CallRow[]>`
    select ${columns(sql)} from call where id = ${id}::uuid and account_id = ${accountId}`;
  return row;
}

/** When the call began, in Unix milliseconds: a UUIDv7 starts with it (RFC 9562, section 5.7). */
export function createdAtMs(callId: string): number {
  return parseInt(callId.slice(0, 13).replace('-', ''), 16);
}

/** A call as JSON, in the form of every answer that shows one: money as decimal strings, times in milliseconds. */
export function callJson(call: CallRow) {
  return {
    id: call.id,
    object: 'call',
    status: 'closed',
    outcome: call.outcome,
    endpoint: call.endpoint,
    model: call.model,
    streamed: call.streamed,
    worker: call.workerId,
    operator: call.operatorId,
    region: call.region,
    attempts: call.attempts,
    usage: {
      prompt_tokens: call.promptTokens,
      cached_tokens: call.cachedTokens,
      completion_tokens: call.completionTokens,
    },
    held_nanousd: call.heldNanousd.toString(),
    charged_nanousd: call.chargedNanousd.toString(),
    operator_nanousd: call.operatorNanousd.toString(),
    refunded_nanousd: call.refundedNanousd.toString(),
    price_version: call.priceVersion,
    queue_ms: call.queueMs,
    ttft_ms: call.ttftMs,
    billed_ms: call.billedMs,
    total_ms: call.totalMs,
    created_at: new Date(createdAtMs(call.id)).toISOString(),
  };
}

function columns(sql: Sql) {
  return sql`
    id, account_id as "accountId", endpoint, model, worker_id as "workerId", operator_id as "operatorId", region, outcome,
    streamed, attempts, prompt_tokens as "promptTokens", cached_tokens as "cachedTokens",
    completion_tokens as "completionTokens", held_nanousd as "heldNanousd", charged_nanousd as "chargedNanousd",
    operator_nanousd as "operatorNanousd", price_version as "priceVersion", queue_ms as "queueMs", ttft_ms as "ttftMs",
    billed_ms as "billedMs", total_ms as "totalMs",
    (select coalesce(sum(nanousd), 0)::bigint from refund where call_id = call.id) as "refundedNanousd"`;
}
