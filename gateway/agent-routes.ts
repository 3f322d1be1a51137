/** /v1 beside inference: models and prices, the account, its calls and receipts. Another account's call does not exist here. */
import type { Hono } from 'hono';
import { z } from 'zod';
import { callJson, getCall, listCalls } from '../payments/calls.ts';
import { balances } from '../payments/ledger.ts';
import { signReceipt } from '../payments/receipt.ts';
import { type CallView, callExample, callSchema, openCall } from './call-view.ts';
import { channelRouteList } from './channel-routes.ts';
import { type ApiError, apiError } from './errors.ts';
import { keyRouteList } from './key-routes.ts';
import { getModel, listModels } from './model-routes.ts';
import type { Gateway } from './platform.ts';
import { quoteCall } from './quote-route.ts';
import { defineRoute, mount, type Route } from './route.ts';
import { listOf, money, page } from './route-schemas.ts';
import { routingExample, routingSchema, routingView } from './routing-view.ts';
import { settled } from './settled.ts';
import { getStatement } from './statement-route.ts';
import { getUsage } from './usage-route.ts';
import { walletRouteList } from './wallet-routes.ts';
import { withdrawalRouteList } from './withdrawal-routes.ts';

const getAccount = defineRoute({
  method: 'get',
  path: '/v1/account',
  summary: 'Your balance: deposits less all that was charged. What open calls hold is not available.',
  security: 'agent',
  response: z.strictObject({
    id: z.string(),
    object: z.literal('account'),
    balance_nanousd: money,
    held_nanousd: money,
    available_nanousd: money,
  }),
  example: {
    response: {
      id: 'acct_0198f3a09d8e7c6b5a4f3e2d1c0b9a87',
      object: 'account',
      balance_nanousd: '4999871800',
      held_nanousd: '12192000',
      available_nanousd: '4987679800',
    },
  },
  async handler({ gateway, principal }) {
    await settled(gateway);
    const { prepaid, escrow } = await balances(gateway.platform.database.sql, principal.ownerId);
    const balance = prepaid + escrow;
    const held = gateway.ledger.holds.heldBy(principal.ownerId);
    return {
      id: principal.ownerId,
      object: 'account',
      balance_nanousd: String(balance),
      held_nanousd: String(held),
      available_nanousd: String(balance - held),
    };
  },
});

const listOwnCalls = defineRoute({
  method: 'get',
  path: '/v1/calls',
  summary: 'Your calls, newest first; those that run here now have the status open.',
  security: 'agent',
  query: page,
  response: listOf(callSchema),
  example: { query: { limit: 20 }, response: { object: 'list', data: [callExample], has_more: false } },
  async handler({ gateway, principal, query }) {
    const after = query.after ?? null;
    if (after !== null && !isCallId(after)) throw noCall();
    // Read before the settled ones: a call that closes in between is then in both lists, and not in neither.
    const open = openCalls(gateway, principal.ownerId).filter(({ id }) => after === null || id < after);
    await settled(gateway);
    const { sql } = gateway.platform.database;
    const { calls, hasMore } = await listCalls(sql, principal.ownerId, { limit: query.limit, after });
    const closed = calls.map(callJson);
    const known = new Set(closed.map(({ id }) => id));
    const merged: CallView[] = [...open.filter(({ id }) => !known.has(id)), ...closed];
    merged.sort((a, b) => (a.id < b.id ? 1 : -1));
    return { object: 'list', data: merged.slice(0, query.limit), has_more: hasMore || merged.length > query.limit };
  },
});

const getOwnCall = defineRoute({
  method: 'get',
  path: '/v1/calls/{id}',
  summary: 'One of your calls, by the id of the header `x-faregate-call`, and for a while why it went where it went.',
  security: 'agent',
  response: callSchema.extend({ routing: routingSchema }),
  example: { params: { id: callExample.id }, response: { ...callExample, routing: routingExample } },
  async handler({ gateway, principal, params }) {
    const open = openCalls(gateway, principal.ownerId).find(({ id }) => id === params.id);
    const call = open ?? callJson(await closedCall(gateway, principal.ownerId, params.id));
    return { ...call, routing: routingView(gateway.choices.of(call.id)) };
  },
});

const getReceipt = defineRoute({
  method: 'get',
  path: '/v1/calls/{id}/receipt',
  summary: 'The receipt of a closed call: a compact JWS that the keys of /.well-known/jwks.json verify, for ever.',
  security: 'agent',
  response: z.strictObject({ receipt: z.string() }),
  example: {
    params: { id: callExample.id },
    response: { receipt: 'eyJhbGciOiJFZERTQSIsImtpZCI6Ii4uLiJ9.eyJqdGkiOiIwMTk4ZjNhNS02YjcwLTdjODEifQ.MEUCIQD' },
  },
  async handler({ gateway, principal, params, publicUrl }) {
    if (openCalls(gateway, principal.ownerId).some(({ id }) => id === params.id)) {
      throw apiError('request_in_progress', 'This call is still open: ask for its receipt when it has ended.', {
        retryAfterMs: 1_000,
      });
    }
    const call = await closedCall(gateway, principal.ownerId, params.id);
    return { receipt: await signReceipt(gateway.platform.database.sql, call, publicUrl) };
  },
});

export const agentRouteList: readonly Route[] = [
  listModels,
  getModel,
  quoteCall,
  getAccount,
  listOwnCalls,
  getOwnCall,
  getReceipt,
  getStatement,
  getUsage,
  ...keyRouteList,
  ...walletRouteList,
  ...channelRouteList,
  ...withdrawalRouteList,
];

export function agentRoutes(gateway: Gateway): Hono {
  return mount(gateway, agentRouteList);
}

function openCalls(gateway: Gateway, accountId: string): CallView[] {
  const own = [...gateway.openCalls].filter(({ fare }) => fare.principal.ownerId === accountId);
  return own.map(openCall);
}

async function closedCall(gateway: Gateway, accountId: string, id: string) {
  if (!isCallId(id)) throw noCall();
  await settled(gateway);
  const call = await getCall(gateway.platform.database.sql, accountId, id);
  if (call === undefined) throw noCall();
  return call;
}

function isCallId(text: string): boolean {
  return z.uuid().safeParse(text).success;
}

function noCall(): ApiError {
  return apiError('not_found', 'You have no such call; GET /v1/calls lists yours.');
}
