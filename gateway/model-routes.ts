/** /v1/models: what is sold, at which price, within which limits. */
import { z } from 'zod';
import type { Sql } from '../db/connect.ts';
import type { Price } from '../payments/prices.ts';
import type { Principal } from './auth.ts';
import { apiError } from './errors.ts';
import type { Gateway } from './platform.ts';
import { defineRoute } from './route.ts';
import { listOf, money } from './route-schemas.ts';

const modelSchema = z.strictObject({
  id: z.string(),
  object: z.literal('model'),
  created: z.int().describe('Unix time in seconds'),
  owned_by: z.literal('faregate'),
  context_length: z.int().nullable().describe('the longest of its workers; null while no worker has the model'),
  pricing: z.strictObject({
    price_version: z.int(),
    input_nanousd: money.describe('per million input tokens'),
    cached_input_nanousd: money.describe('per million input tokens that were in a prefix cache'),
    output_nanousd: money.describe('per million output tokens'),
    per_ms_nanousd: money.describe('per millisecond of the attempt that delivered'),
  }),
  limits: z
    .strictObject({
      requests_per_minute: z.int(),
      tokens_per_minute: z.int(),
      open_streams: z.int(),
      body_bytes: z.int(),
      total_ms: z.int(),
    })
    .describe('of the key that asks'),
});

type ModelView = z.input<typeof modelSchema>;

const modelExample: ModelView = {
  id: 'meta-llama/Llama-3.1-8B-Instruct',
  object: 'model',
  created: 1_756_433_900,
  owned_by: 'faregate',
  context_length: 131_072,
  pricing: {
    price_version: 7,
    input_nanousd: '200000000',
    cached_input_nanousd: '50000000',
    output_nanousd: '800000000',
    per_ms_nanousd: '20',
  },
  limits: {
    requests_per_minute: 6_000,
    tokens_per_minute: 10_000_000,
    open_streams: 256,
    body_bytes: 10_485_760,
    total_ms: 600_000,
  },
};

export const listModels = defineRoute({
  method: 'get',
  path: '/v1/models',
  summary: 'Every model that has a price, with its price and limits.',
  security: 'agent',
  response: listOf(modelSchema),
  example: { response: { object: 'list', data: [modelExample], has_more: false } },
  async handler({ gateway, principal }) {
    const since = await firstSold(gateway.platform.database.sql);
    const data = gateway.prices.all().map((price) => view(gateway, principal, price, since));
    return { object: 'list', data, has_more: false };
  },
});

export const getModel = defineRoute({
  method: 'get',
  path: '/v1/models/{+id}',
  summary: 'One model with its price and limits.',
  security: 'agent',
  response: modelSchema,
  example: { params: { id: modelExample.id }, response: modelExample },
  async handler({ gateway, principal, params }) {
    const price = gateway.prices.get(params.id);
    if (price !== undefined) return view(gateway, principal, price, await firstSold(gateway.platform.database.sql));
    throw apiError('model_not_found', 'There is no such model here; GET /v1/models lists what there is.', {
      param: 'model',
    });
  },
});

/** When each model got its first price, in Unix seconds. */
async function firstSold(sql: Sql): Promise<ReadonlyMap<string, number>> {
  const rows = await sql<{ id: string; created: number }[]>`
    select id, floor(extract(epoch from created_at))::int as created from model`;
  return new Map(rows.map(({ id, created }) => [id, created]));
}

function view(gateway: Gateway, principal: Principal, price: Price, since: ReadonlyMap<string, number>): ModelView {
  const { bodyBytes, totalMs } = gateway.platform.config.limits;
  return {
    id: price.model,
    object: 'model',
    created: since.get(price.model) ?? 0,
    owned_by: 'faregate',
    context_length: contextLength(gateway, price.model),
    pricing: {
      price_version: price.version,
      input_nanousd: String(price.input),
      cached_input_nanousd: String(price.cachedInput),
      output_nanousd: String(price.output),
      per_ms_nanousd: String(price.perMs),
    },
    limits: {
      requests_per_minute: principal.limits.requestsPerMinute,
      tokens_per_minute: principal.limits.tokensPerMinute,
      open_streams: principal.limits.openStreams,
      body_bytes: bodyBytes,
      total_ms: totalMs,
    },
  };
}

function contextLength(gateway: Gateway, model: string): number | null {
  const lengths = gateway.router.fleet.pool(model).map((worker) => worker.contextOf(model));
  return lengths.length === 0 ? null : Math.max(...lengths);
}
