/** /operator/v1: an operator's workers and earnings. Another operator's worker does not exist here. */
import type { Hono } from 'hono';
import { z } from 'zod';
import { earnings } from '../payments/ledger.ts';
import { gpuNames } from '../router/gpu.ts';
import { checkWorkerUrl, GuardError } from '../router/guard.ts';
import type { StoredWorker } from '../router/registry.ts';
import { isCountry } from './countries.ts';
import { type ApiError, apiError } from './errors.ts';
import { operatorPayoutRouteList } from './payout-routes.ts';
import type { Gateway } from './platform.ts';
import { defineRoute, mount, type Route } from './route.ts';
import { deleted, deletion, listOf, modelName, money, page } from './route-schemas.ts';
import { settled } from './settled.ts';
import { getOperatorStatement } from './statement-route.ts';
import { workerExample, workerSchema, workerView } from './worker-view.ts';

/** Slots and context lengths above these are mistakes. */
const SLOTS_MAX = 4_096;
const CONTEXT_MAX = 16_777_216;
const MODELS_MAX = 100;

const declaration = z.strictObject({
  url: z.string().min(1).max(2_048).describe('where the vLLM server answers; /v1 at the end may stay out'),
  engine_key: z
    .string()
    .regex(/^[!-~]{1,512}$/, 'expected printable ASCII without spaces')
    .nullish()
    .describe('the api key of the vLLM server; never shown again'),
  models: z
    .array(z.strictObject({ id: modelName, context_length: z.int().min(1).max(CONTEXT_MAX) }))
    .min(1)
    .max(MODELS_MAX)
    .refine((models) => new Set(models.map(({ id }) => id)).size === models.length, 'a model stands there twice'),
  country: z.string().refine(isCountry, 'expected a country code of ISO 3166-1 such as NO'),
  region: z.string().regex(/^[\w.-]{1,64}$/, 'expected 1 to 64 letters, digits, dots, dashes'),
  slots: z.int().min(1).max(SLOTS_MAX).describe('generations that the server runs at once'),
  gpu: z.enum(gpuNames).nullish().describe('class of its GPU: how fast it is taken to be until it has shown it'),
});

const declarationExample = {
  url: workerExample.url,
  engine_key: 'the-key-given-to-vllm-serve',
  models: workerExample.models,
  country: workerExample.country,
  region: workerExample.region,
  slots: workerExample.slots,
  gpu: workerExample.gpu,
};

const registerWorker = defineRoute({
  method: 'post',
  path: '/operator/v1/workers',
  summary: 'Register a vLLM server. It serves and earns once it has answered a real one-token call.',
  security: 'operator',
  body: declaration,
  response: workerSchema,
  example: {
    body: declarationExample,
    response: { ...workerExample, state: 'verifying', in_flight: 0, rtt_ms: null, first_content_ms: null },
  },
  async handler({ gateway, principal, body }) {
    const { registry } = gateway;
    const stored = await registry.insert({
      operator: principal.ownerId,
      url: guardedUrl(gateway, body.url),
      engineKey: body.engine_key ?? null,
      models: body.models.map(({ id, context_length }) => ({ id, contextLength: context_length })),
      country: body.country,
      region: body.region,
      slots: body.slots,
      gpu: body.gpu ?? null,
    });
    return workerView(gateway, stored);
  },
});

const listWorkers = defineRoute({
  method: 'get',
  path: '/operator/v1/workers',
  summary: 'Your workers, oldest first, with their state and the last error.',
  security: 'operator',
  query: page,
  response: listOf(workerSchema),
  example: { query: { limit: 20 }, response: { object: 'list', data: [workerExample], has_more: false } },
  async handler({ gateway, principal, query }) {
    return workerPage(gateway, await gateway.registry.list(principal.ownerId), query);
  },
});

const getWorker = defineRoute({
  method: 'get',
  path: '/operator/v1/workers/{id}',
  summary: 'One of your workers.',
  security: 'operator',
  response: workerSchema,
  example: { params: { id: workerExample.id }, response: workerExample },
  async handler({ gateway, principal, params }) {
    const stored = await gateway.registry.find(params.id, principal.ownerId);
    if (stored === null) throw noWorker();
    return workerView(gateway, stored);
  },
});

const drainWorker = defineRoute({
  method: 'patch',
  path: '/operator/v1/workers/{id}',
  summary: 'Drain a worker: no new calls, running ones end. `false` lets it serve again, after a check.',
  security: 'operator',
  body: z.strictObject({ drain: z.boolean() }),
  response: workerSchema,
  example: {
    params: { id: workerExample.id },
    body: { drain: true },
    response: { ...workerExample, state: 'draining' },
  },
  async handler({ gateway, principal, params, body }) {
    const stored = await gateway.registry.drain(params.id, principal.ownerId, body.drain);
    if (stored === null) throw noWorker();
    return workerView(gateway, stored);
  },
});

const removeWorker = defineRoute({
  method: 'delete',
  path: '/operator/v1/workers/{id}',
  summary: 'Remove a worker for good. Running calls end; what it earned stays yours.',
  security: 'operator',
  response: deleted,
  example: { params: { id: workerExample.id }, response: { id: workerExample.id, deleted: true } },
  async handler({ gateway, principal, params }) {
    if (!(await gateway.registry.remove(params.id, principal.ownerId))) throw noWorker();
    return deletion(params.id);
  },
});

const getEarnings = defineRoute({
  method: 'get',
  path: '/operator/v1/earnings',
  summary: 'What you earned in all, what of it waits to be paid out or is on its way, and what was paid.',
  security: 'operator',
  response: z.strictObject({ earned_nanousd: money, pending_nanousd: money, paid_nanousd: money }),
  example: { response: { earned_nanousd: '91800', pending_nanousd: '91800', paid_nanousd: '0' } },
  async handler({ gateway, principal }) {
    await settled(gateway);
    const { earned, pending, paid } = await earnings(gateway.platform.database.sql, principal.ownerId);
    return { earned_nanousd: String(earned), pending_nanousd: String(pending), paid_nanousd: String(paid) };
  },
});

export const operatorRouteList: readonly Route[] = [
  registerWorker,
  listWorkers,
  getWorker,
  drainWorker,
  removeWorker,
  getEarnings,
  getOperatorStatement,
  ...operatorPayoutRouteList,
];

export function operatorRoutes(gateway: Gateway): Hono {
  return mount(gateway, operatorRouteList);
}

/** One page of workers that are listed oldest first. */
export function workerPage(
  gateway: Gateway,
  workers: readonly StoredWorker[],
  { limit, after }: z.output<typeof page>,
): z.input<ReturnType<typeof listOf<typeof workerSchema>>> {
  const rest = after === undefined ? workers : workers.filter(({ id }) => id > after);
  const data = rest.slice(0, limit).map((worker) => workerView(gateway, worker));
  return { object: 'list', data, has_more: rest.length > limit };
}

function guardedUrl(gateway: Gateway, url: string): string {
  try {
    return checkWorkerUrl(url, { allowPrivate: gateway.platform.config.allowPrivateWorkers });
  } catch (error) {
    if (error instanceof GuardError) throw apiError('invalid_request', error.message, { param: 'url' });
    throw error;
  }
}

function noWorker(): ApiError {
  return apiError('not_found', 'You have no such worker; GET /operator/v1/workers lists yours.');
}
