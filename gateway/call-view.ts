/** A call as its agent sees it, while it runs and for ever after. */
import { z } from 'zod';
import { callJson } from '../payments/calls.ts';
import type { Call } from './call.ts';
import { money } from './route-schemas.ts';

export const callSchema = z.strictObject({
  id: z.string(),
  object: z.string(),
  status: z.string().describe('open or closed'),
  outcome: z.enum(['complete', 'aborted', 'failed']).nullable().describe('null while the call is open'),
  endpoint: z.string().describe('chat, completion or embedding'),
  model: z.string(),
  streamed: z.boolean(),
  worker: z.string().nullable(),
  operator: z.string().nullable(),
  region: z.string().nullable(),
  attempts: z.int(),
  usage: z.strictObject({ prompt_tokens: z.int(), cached_tokens: z.int(), completion_tokens: z.int() }),
  held_nanousd: money,
  charged_nanousd: money,
  operator_nanousd: money.describe("the operator's part of the charge"),
  refunded_nanousd: money.describe('given back later, of the charge'),
  price_version: z.int(),
  queue_ms: z.int().nullable().describe('in the gateway, before the attempt that delivered'),
  ttft_ms: z.int().nullable().describe('from arrival to the first content'),
  billed_ms: z.int(),
  total_ms: z.int(),
  created_at: z.iso.datetime(),
});

export type CallView = z.input<typeof callSchema>;

export const callExample: CallView = {
  id: '0198f3a5-6b70-7c81-9d92-a3b4c5d6e7f8',
  object: 'call',
  status: 'closed',
  outcome: 'complete',
  endpoint: 'chat',
  model: 'meta-llama/Llama-3.1-8B-Instruct',
  streamed: true,
  worker: 'wrk_0198f3a27c4b7d1e9a6b2c3d4e5f6071',
  operator: 'op_0198f3a1b2c37d4e8f90a1b2c3d4e5f6',
  region: 'eu-north',
  attempts: 1,
  usage: { prompt_tokens: 31, cached_tokens: 16, completion_tokens: 120 },
  held_nanousd: '12208000',
  charged_nanousd: '128200',
  operator_nanousd: '115380',
  refunded_nanousd: '0',
  price_version: 7,
  queue_ms: 0,
  ttft_ms: 92,
  billed_ms: 1_420,
  total_ms: 1_422,
  created_at: '2025-08-29T02:26:01.200Z',
};

/** A call that runs here now, as far as it has come. Nothing is charged before its end. */
export function openCall(call: Call): CallView {
  const worker = call.attempt?.worker ?? null;
  const soFar = {
    ...call.meter.read(),
    id: call.id,
    accountId: call.fare.principal.ownerId,
    endpoint: call.endpoint,
    model: call.request.model,
    streamed: call.request.stream,
    workerId: worker?.id ?? null,
    operatorId: worker?.operator ?? null,
    region: worker?.region ?? null,
    outcome: 'aborted' as const,
    attempts: call.attempts,
    heldNanousd: call.heldNanousd,
    chargedNanousd: 0n,
    operatorNanousd: 0n,
    refundedNanousd: 0n,
    priceVersion: call.price.version,
    queueMs: call.queueMs,
    ttftMs: call.ttftMs,
    billedMs: call.billedMs,
    totalMs: call.totalMs,
  };
  return { ...callJson(soFar), status: 'open', outcome: null };
}
