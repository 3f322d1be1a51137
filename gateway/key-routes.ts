/** /v1/keys: an agent makes keys of its own key for its helpers, no wider than its own, and revokes them. */
import { z } from 'zod';
import { admitCall } from './admission.ts';
import { budgetOf, budgetOptions, wholeBudget } from './budget-fields.ts';
import { type KeyRow, keysUnder, keyUnder, type MintRefusal, mintChild } from './child-keys.ts';
import { type ApiError, apiError } from './errors.ts';
import { revokeKey } from './key-store.ts';
import { keyProvider, providerOption, providerText } from './provider-fields.ts';
import { defineRoute, type Route } from './route.ts';
import { deleted, deletion, label, listOf, money, page } from './route-schemas.ts';

const keyMembers = {
  id: z.string(),
  object: z.literal('key'),
  name: z.string().nullable(),
  hint: z.string().describe('what may be shown of the key'),
  parent: z.string().nullable().describe('the key that made it; its end is the end of this one'),
  requests_per_minute: z.int().describe('together with all keys below it, and within the limits of those above'),
  tokens_per_minute: z.int(),
  open_streams: z.int(),
  created_at: z.iso.datetime(),
  expires_at: z.iso.datetime().nullable(),
  budget_nanousd: money
    .nullable()
    .describe('what it and all keys below it may spend, within the budgets of those above'),
  budget_window_seconds: z.int().nullable().describe('null: for ever'),
  budget_spent_nanousd: money.nullable().describe('charged and settled in this window'),
  provider: providerOption.unwrap().nullable().describe('its own wishes; those of the keys above it hold too'),
};

const limit = z.int().min(1).max(2_147_483_647).optional().describe('at most your own; without it, your own');

const keyExample = {
  id: 'key_0198f3a0aa11722bb33cc44dd55ee66f',
  object: 'key' as const,
  name: 'summariser',
  hint: 'fg_live_…jB1q',
  parent: 'key_0198f3a0990162aab33cc44dd55ee66f',
  requests_per_minute: 60,
  tokens_per_minute: 100_000,
  open_streams: 4,
  created_at: '2025-08-29T02:26:01.200Z',
  expires_at: '2025-08-30T02:26:01.200Z',
  budget_nanousd: '1000000000',
  budget_window_seconds: 86_400,
  budget_spent_nanousd: '128200',
  provider: { allow: { countries: ['NO', 'SE'] } },
};

const createOwnKey = defineRoute({
  method: 'post',
  path: '/v1/keys',
  summary: 'Make a further key of your account for a helper, no wider than the one you send. It is shown this once.',
  security: 'agent',
  body: wholeBudget(
    z.strictObject({
      name: label.optional(),
      requests_per_minute: limit,
      tokens_per_minute: limit,
      open_streams: limit,
      expires_at: z.iso.datetime({ offset: true }).optional().describe('when it ends by itself; never after your own'),
      provider: keyProvider,
      ...budgetOptions,
    }),
  ),
  response: z.strictObject({ ...keyMembers, key: z.string() }),
  example: {
    body: {
      name: 'summariser',
      requests_per_minute: 60,
      expires_at: '2025-08-30T02:26:01Z',
      budget_nanousd: '1000000000',
      budget_window_seconds: 86_400,
    },
    response: { ...keyExample, key: 'fg_live_4fT0aYcN2mWqPz7RxLh9KdVbEoSuGi36XjB1q' },
  },
  async handler({ gateway, principal, body }) {
    // A request like any other: nobody fills the table of keys faster than it may call.
    admitCall(gateway.rateLimiter, principal, { tokens: 0, stream: false }).release(0);
    const { keyDepth, keysBelow } = gateway.platform.config.limits;
    if (principal.ancestors.length >= keyDepth) {
      throw apiError('forbidden', `A key can have at most ${keyDepth} above it: use this one, or one above it.`);
    }
    const limits = {
      requestsPerMinute: body.requests_per_minute ?? null,
      tokensPerMinute: body.tokens_per_minute ?? null,
      openStreams: body.open_streams ?? null,
    };
    requireWithin('requests_per_minute', limits.requestsPerMinute, principal.limits.requestsPerMinute);
    requireWithin('tokens_per_minute', limits.tokensPerMinute, principal.limits.tokensPerMinute);
    requireWithin('open_streams', limits.openStreams, principal.limits.openStreams);
    const { sql } = gateway.platform.database;
    const child = {
      name: body.name ?? null,
      expiresAt: body.expires_at ?? null,
      limits,
      budget: budgetOf(body),
      provider: providerText(body.provider),
    };
    const made = await mintChild(sql, gateway.keyring, principal, child, keysBelow);
    if ('code' in made) throw refusal(made, keysBelow);
    const row = await keyUnder(sql, principal, made.id);
    if (row === undefined) throw refusal({ code: 'parent_gone' }, keysBelow);
    return { ...keyJson(row), key: made.key };
  },
});

const listOwnKeys = defineRoute({
  method: 'get',
  path: '/v1/keys',
  summary: 'The key you send and those below it that are in force, newest first; never the keys themselves.',
  security: 'agent',
  query: page,
  response: listOf(z.strictObject(keyMembers)),
  example: { query: { limit: 20 }, response: { object: 'list', data: [keyExample], has_more: false } },
  async handler({ gateway, principal, query }) {
    const place = { limit: query.limit, after: query.after ?? null };
    const { keys, hasMore } = await keysUnder(gateway.platform.database.sql, principal, place);
    return { object: 'list', data: keys.map(keyJson), has_more: hasMore };
  },
});

const revokeOwnKey = defineRoute({
  method: 'delete',
  path: '/v1/keys/{id}',
  summary: 'Revoke a key below yours, or your own, and all below it, at once and everywhere.',
  security: 'agent',
  response: deleted,
  example: { params: { id: keyExample.id }, response: { id: keyExample.id, deleted: true } },
  async handler({ gateway, principal, params }) {
    const { sql } = gateway.platform.database;
    if ((await keyUnder(sql, principal, params.id)) === undefined) {
      throw apiError('not_found', 'You have no such key; GET /v1/keys lists yours.');
    }
    await revokeKey(sql, params.id);
    return deletion(params.id);
  },
});

export const keyRouteList: readonly Route[] = [createOwnKey, listOwnKeys, revokeOwnKey];

function keyJson(key: KeyRow) {
  return {
    id: key.id,
    object: 'key' as const,
    name: key.name,
    hint: key.hint,
    parent: key.parentId,
    requests_per_minute: key.requestsPerMinute,
    tokens_per_minute: key.tokensPerMinute,
    open_streams: key.openStreams,
    created_at: key.createdAt,
    expires_at: key.expiresAt,
    budget_nanousd: key.budgetNanousd === null ? null : String(key.budgetNanousd),
    budget_window_seconds: key.budgetWindowSeconds,
    budget_spent_nanousd: key.budgetSpentNanousd === null ? null : String(key.budgetSpentNanousd),
    provider: key.provider,
  };
}

function requireWithin(param: string, wanted: number | null, own: number): void {
  if (wanted === null || wanted <= own) return;
  throw apiError('invalid_request', `A key has no wider limits than the one that makes it: at most ${own}.`, { param });
}

function refusal({ code }: MintRefusal, keysBelow: number): ApiError {
  switch (code) {
    case 'parent_gone':
      return apiError('invalid_api_key', 'This key was revoked a moment ago.');
    case 'already_over':
      return apiError('invalid_request', 'A key ends in the future.', { param: 'expires_at' });
    case 'too_many':
      return apiError('forbidden', `There are ${keysBelow} keys in force below this one: revoke one first.`);
  }
}
