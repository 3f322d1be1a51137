/** /admin/v1: what only the host does. Each route is one command of `faregate admin`. */
import type { Hono } from 'hono';
import { z } from 'zod';
import { violations } from '../db/checks.ts';
import type { Sql } from '../db/connect.ts';
import { createAgent, createOperator, deposit } from '../payments/ledger.ts';
import { rotate } from '../payments/receipt.ts';
import { errorCode } from '../payments/retry.ts';
import { budgetOf, budgetOptions, wholeBudget } from './budget-fields.ts';
import { type ApiError, apiError } from './errors.ts';
import { exceptionRoute } from './exception-route.ts';
import { createKey, revokeKey } from './key-store.ts';
import { workerPage } from './operator-routes.ts';
import { adminPayoutRouteList } from './payout-routes.ts';
import type { Gateway } from './platform.ts';
import { keyProvider, providerText } from './provider-fields.ts';
import { refundRoute } from './refund-route.ts';
import { defineRoute, mount, type Route } from './route.ts';
import { amount, deleted, deletion, label, listOf, modelName, money, page } from './route-schemas.ts';
import { workerExample, workerSchema } from './worker-view.ts';

const SHARE_PPM_DEFAULT = 900_000;

const ids = {
  account: 'acct_0198f3a09d8e7c6b5a4f3e2d1c0b9a87',
  operator: workerExample.operator,
  key: 'key_0198f3a0aa11722bb33cc44dd55ee66f',
};

const createAccount = defineRoute({
  method: 'post',
  path: '/admin/v1/accounts',
  summary: 'Create the account of an agent, with nothing on it.',
  security: 'admin',
  body: z.strictObject({ name: label }),
  response: z.strictObject({ id: z.string(), name: z.string() }),
  example: { body: { name: 'research agent' }, response: { id: ids.account, name: 'research agent' } },
  handler: ({ gateway, body }) => createAgent(gateway.platform.database.sql, body),
});

const creditAccount = defineRoute({
  method: 'post',
  path: '/admin/v1/accounts/{id}/credits',
  summary: 'Book a deposit. The same reference again changes nothing and answers the first deposit.',
  security: 'admin',
  body: z.strictObject({ nanousd: amount.refine((nanousd) => nanousd > 0n, 'expected more than 0'), reference: label }),
  response: z.strictObject({ txn: z.string(), balance_nanousd: money }),
  example: {
    params: { id: ids.account },
    body: { nanousd: '5000000000', reference: 'invoice 2026-117' },
    response: { txn: '0198f3a0-b1c2-7d3e-8f40-a1b2c3d4e5f6', balance_nanousd: '5000000000' },
  },
  async handler({ gateway, params, body }) {
    const { sql } = gateway.platform.database;
    await requireAgent(sql, params.id);
    const request = { accountId: params.id, amount: body.nanousd, reference: body.reference };
    const booked = await deposit(sql, request).catch((error: unknown) => {
      throw isOutOfRange(error) ? tooMuch() : error;
    });
    if (!('code' in booked)) return { txn: booked.txn, balance_nanousd: String(booked.balance) };
    if (booked.code === 'account_not_found') throw noAccount();
    throw apiError('idempotency_mismatch', 'This reference was used for another amount: choose a new one.', {
      param: 'reference',
    });
  },
});

const createAccountKey = defineRoute({
  method: 'post',
  path: '/admin/v1/accounts/{id}/keys',
  summary: 'Create a key of an agent, with a budget and wishes if you like. It is shown this once.',
  security: 'admin',
  body: wholeBudget(z.strictObject({ name: label.optional(), provider: keyProvider, ...budgetOptions })),
  response: z.strictObject({ id: z.string(), key: z.string() }),
  example: {
    params: { id: ids.account },
    body: { name: 'laptop' },
    response: { id: ids.key, key: 'fg_live_4fT0aYcN2mWqPz7RxLh9KdVbEoSuGi36XjB1' },
  },
  async handler({ gateway, params, body }) {
    const { sql } = gateway.platform.database;
    await requireAgent(sql, params.id);
    const provider = providerText(body.provider);
    const key = {
      ownerId: params.id,
      kind: 'live',
      name: body.name ?? null,
      budget: budgetOf(body),
      provider,
    } as const;
    return createKey(sql, gateway.keyring, key);
  },
});

const deleteKey = defineRoute({
  method: 'delete',
  path: '/admin/v1/keys/{id}',
  summary: 'Revoke the key of an agent or operator, at once and everywhere.',
  security: 'admin',
  response: deleted,
  example: { params: { id: ids.key }, response: { id: ids.key, deleted: true } },
  async handler({ gateway, params }) {
    if (!(await revokeKey(gateway.platform.database.sql, params.id))) {
      throw apiError('not_found', 'There is no key of this id.');
    }
    return deletion(params.id);
  },
});

const setPrice = defineRoute({
  method: 'put',
  path: '/admin/v1/prices/{+model}',
  summary: 'Put the next price of a model in force: nano-USD per million tokens, and per millisecond.',
  security: 'admin',
  body: z
    .strictObject({ input: amount, cached_input: amount, output: amount, per_ms: amount })
    .refine((price) => price.cached_input <= price.input, {
      path: ['cached_input'],
      error: 'cached input may not cost more than input',
    }),
  response: z.strictObject({ model: z.string(), price_version: z.int() }),
  example: {
    params: { model: 'meta-llama/Llama-3.1-8B-Instruct' },
    body: { input: '200000000', cached_input: '50000000', output: '800000000', per_ms: '20' },
    response: { model: 'meta-llama/Llama-3.1-8B-Instruct', price_version: 7 },
  },
  async handler({ gateway, params, body }) {
    const { data: model } = modelName.safeParse(params.model);
    if (model === undefined) throw apiError('invalid_request', 'A model name has no spaces.', { param: 'model' });
    const { input, cached_input: cachedInput, output, per_ms: perMs } = body;
    const fields = { input, cachedInput, output, perMs };
    const { version } = await gateway.prices.set(gateway.platform.database.sql, model, fields);
    return { model, price_version: version };
  },
});

const createOperatorAccount = defineRoute({
  method: 'post',
  path: '/admin/v1/operators',
  summary: 'Create an operator and its key, which is shown this once.',
  security: 'admin',
  body: z.strictObject({
    name: label,
    share_ppm: z
      .int()
      .min(0)
      .max(1_000_000)
      .default(SHARE_PPM_DEFAULT)
      .describe('its part of each charge, in millionths'),
  }),
  response: z.strictObject({ id: z.string(), name: z.string(), share_ppm: z.int(), key: z.string() }),
  example: {
    body: { name: 'Nordic GPUs', share_ppm: SHARE_PPM_DEFAULT },
    response: {
      id: ids.operator,
      name: 'Nordic GPUs',
      share_ppm: SHARE_PPM_DEFAULT,
      key: 'fg_op_7Rk2VnTqJ0sYdPw5XgMz8HbLcFuEoA41iKjC',
    },
  },
  async handler({ gateway, body }) {
    const { sql } = gateway.platform.database;
    const { id, name, sharePpm } = await createOperator(sql, { name: body.name, sharePpm: body.share_ppm });
    const { key } = await createKey(sql, gateway.keyring, { ownerId: id, kind: 'operator', name: null });
    return { id, name, share_ppm: sharePpm, key };
  },
});

const listWorkers = defineRoute({
  method: 'get',
  path: '/admin/v1/workers',
  summary: 'Every worker with state, models, generations in flight and learned times.',
  security: 'admin',
  query: page,
  response: listOf(workerSchema),
  example: { query: { limit: 20 }, response: { object: 'list', data: [workerExample], has_more: false } },
  async handler({ gateway, query }) {
    return workerPage(gateway, await gateway.registry.list(), query);
  },
});

const rotateReceiptKey = defineRoute({
  method: 'post',
  path: '/admin/v1/receipt-keys',
  summary: 'Sign receipts with a new key, once it was published for a minute. What older keys signed stays verifiable.',
  security: 'admin',
  response: z.strictObject({ kid: z.string() }),
  example: { response: { kid: 'pZ0cXnJtY5oWnKc5RkIhDyDyQ1hS1v3n8Yq3mJ2b7aE' } },
  handler: async ({ gateway }) => ({ kid: await rotate(gateway.platform.database.sql) }),
});

const violation = z.strictObject({ check: z.string(), subject: z.string(), detail: z.string() });

const checkBooks = defineRoute({
  method: 'get',
  path: '/admin/v1/check',
  summary: 'Whether the books balance; each violation names its check and its subject.',
  security: 'admin',
  response: z.strictObject({ balanced: z.boolean(), violations: z.array(violation) }),
  example: { response: { balanced: true, violations: [] } },
  async handler({ gateway }) {
    const found = await violations(gateway.platform.database.sql);
    return { balanced: found.length === 0, violations: found };
  },
});

export const adminRouteList: readonly Route[] = [
  createAccount,
  creditAccount,
  refundRoute,
  exceptionRoute,
  createAccountKey,
  deleteKey,
  setPrice,
  createOperatorAccount,
  listWorkers,
  rotateReceiptKey,
  ...adminPayoutRouteList,
  checkBooks,
];

export function adminRoutes(gateway: Gateway): Hono {
  return mount(gateway, adminRouteList);
}

/** Operators have accounts too, and the ledger has its own: none of them takes deposits or has an agent's keys. */
async function requireAgent(sql: Sql, id: string): Promise<void> {
  const rows = await sql`select from agent where id = ${id}`;
  if (rows.length === 0) throw noAccount();
}

/** A sum beyond what Postgres counts in: numeric_value_out_of_range, or below the floor of the world. */
function isOutOfRange(error: unknown): boolean {
  return ['22003', '23514'].includes(errorCode(error));
}

function tooMuch(): ApiError {
  return apiError('invalid_request', 'All deposits together may not exceed 2^63 nano-USD.', { param: 'nanousd' });
}

function noAccount(): ApiError {
  return apiError('not_found', 'There is no account of this id.');
}
