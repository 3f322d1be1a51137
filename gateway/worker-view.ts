/** A worker as its operator and the host see it: what was declared, what this gateway knows, why it earns or does not. */
import { z } from 'zod';
import { gpuNames } from '../router/gpu.ts';
import type { StoredWorker } from '../router/registry.ts';
import type { Gateway } from './platform.ts';

export const workerSchema = z.strictObject({
  object: z.literal('worker'),
  id: z.string(),
  operator: z.string(),
  state: z.enum(['verifying', 'probation', 'active', 'degraded', 'quarantined', 'draining']),
  url: z.string(),
  models: z.array(z.strictObject({ id: z.string(), context_length: z.int() })),
  country: z.string(),
  region: z.string(),
  slots: z.int(),
  gpu: z.enum(gpuNames).nullable().describe('declared; null: the usual class'),
  in_flight: z.int().describe('generations that this gateway runs there now'),
  rtt_ms: z.number().nullable().describe('learned: one round trip; null before the first'),
  first_content_ms: z
    .number()
    .nullable()
    .describe('learned: to first content, as if it were idle; null before the first'),
  last_error: z.string().nullable().describe('what went wrong last and how to mend it; null after a good answer'),
  created_at: z.string(),
});

export const workerExample = {
  object: 'worker',
  id: 'wrk_0198f3a27c4b7d1e9a6b2c3d4e5f6071',
  operator: 'op_0198f3a1b2c37d4e8f90a1b2c3d4e5f6',
  state: 'active',
  url: 'https://gpu-7.example.com',
  models: [{ id: 'meta-llama/Llama-3.1-8B-Instruct', context_length: 131_072 }],
  country: 'NO',
  region: 'eu-north',
  slots: 64,
  gpu: 'h100',
  in_flight: 3,
  rtt_ms: 11.4,
  first_content_ms: 84.2,
  last_error: null,
  created_at: '2025-08-29T02:22:48.907Z',
} as const;

/** Never the engine key. */
export function workerView(gateway: Gateway, stored: StoredWorker): z.input<typeof workerSchema> {
  const { fleet } = gateway.router;
  const live = fleet.get(stored.id);
  return {
    object: 'worker',
    id: stored.id,
    operator: stored.operator,
    // A drain is in the database a moment before the fleet hears of it.
    state: stored.state === 'draining' ? 'draining' : (live?.state(fleet.now()) ?? stored.state),
    url: stored.url,
    models: stored.models.map(({ id, contextLength }) => ({ id, context_length: contextLength })),
    country: stored.country,
    region: stored.region,
    slots: stored.slots,
    gpu: stored.gpu ?? null,
    in_flight: live?.inFlight ?? 0,
    rtt_ms: rounded(live?.times.rttMs),
    first_content_ms: rounded(live?.times.firstContentMs),
    last_error: live?.lastError ?? null,
    created_at: stored.createdAt.toISOString(),
  };
}

function rounded(ms: number | null | undefined): number | null {
  return ms === null || ms === undefined ? null : Math.round(ms * 10) / 10;
}
