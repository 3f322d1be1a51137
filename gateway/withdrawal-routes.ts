/** /v1/withdrawals: an agent's money back to the wallet that paid it in. */
import { z } from 'zod';
import { getPayout, listPayouts } from '../payments/payouts/booking.ts';
import { bookWithdrawal, type WithdrawalRefusal } from '../payments/payouts/withdrawals.ts';
import type { Principal } from './auth.ts';
import { type ApiError, apiError } from './errors.ts';
import { noPayout, payNow, payoutExample, payoutSchema, payoutView, requirePayouts } from './payout-view.ts';
import { defineRoute, type Route } from './route.ts';
import { amount, label, listOf, page } from './route-schemas.ts';
import { settled } from './settled.ts';

const withdrawalExample = { ...payoutExample, account: 'acct_0198f3a09d8e7c6b5a4f3e2d1c0b9a87', nanousd: '4987000000' };

const withdraw = defineRoute({
  method: 'post',
  path: '/v1/withdrawals',
  summary:
    'Pay money out to the wallet that your account belongs to, and to no other. What your calls hold stays; so does what is less than a millionth of a dollar.',
  security: 'agent',
  body: z.strictObject({
    nanousd: amount.optional().describe('how much; all that is free where it is absent'),
    reference: label.describe('once for each withdrawal: the same again changes nothing and answers the first'),
  }),
  response: payoutSchema,
  example: { body: { nanousd: '4987000000', reference: 'november' }, response: withdrawalExample },
  async handler({ gateway, principal, body }) {
    const { treasury, terms } = requirePayouts(gateway);
    requireOwner(principal);
    await settled(gateway);
    const { sql } = gateway.platform.database;
    const request = { accountId: principal.ownerId, amount: body.nanousd ?? null, reference: body.reference };
    const booked = await bookWithdrawal(sql, treasury, request, terms.withdrawalMinimum);
    if ('code' in booked) throw refusal(booked);
    const [withdrawal = booked] = await payNow(gateway, [booked]);
    return payoutView(withdrawal);
  },
});

const listWithdrawals = defineRoute({
  method: 'get',
  path: '/v1/withdrawals',
  summary: 'Your withdrawals, the newest first.',
  security: 'agent',
  query: page,
  response: listOf(payoutSchema),
  example: { query: { limit: 20 }, response: { object: 'list', data: [withdrawalExample], has_more: false } },
  async handler({ gateway, principal, query: { limit, after = null } }) {
    const { sql } = gateway.platform.database;
    const found = await listPayouts(sql, principal.ownerId, { limit: limit + 1, after });
    return { object: 'list', data: found.slice(0, limit).map(payoutView), has_more: found.length > limit };
  },
});

const getWithdrawal = defineRoute({
  method: 'get',
  path: '/v1/withdrawals/{id}',
  summary: 'One of your withdrawals.',
  security: 'agent',
  response: payoutSchema,
  example: { params: { id: withdrawalExample.id }, response: withdrawalExample },
  async handler({ gateway, principal, params }) {
    const found = await getPayout(gateway.platform.database.sql, principal.ownerId, params.id);
    if (found === undefined) throw noPayout();
    return payoutView(found);
  },
});

export const withdrawalRouteList: readonly Route[] = [withdraw, listWithdrawals, getWithdrawal];

/** A key that somebody was given for calls, or with a budget, is no key to the money. */
function requireOwner({ ancestors, budgets }: Principal): void {
  if (ancestors.length === 0 && budgets.length === 0) return;
  throw apiError('forbidden', 'Only a key that was not made of another, and has no budget, can withdraw.');
}

function refusal(refused: WithdrawalRefusal): ApiError {
  const wrong = (message: string) => apiError('invalid_request', message, { param: 'nanousd' });
  switch (refused.code) {
    case 'no_wallet':
      return apiError('forbidden', 'No wallet has paid into this account: there is none to withdraw to.');
    case 'reference_conflict':
      return apiError('idempotency_mismatch', 'This reference was used for another amount: choose a new one.', {
        param: 'reference',
      });
    case 'below_minimum':
      return wrong(`A withdrawal is at least ${refused.minimum} nano-USD; ${refused.available} are free.`);
    case 'insufficient_balance':
      return wrong(`Only ${refused.available} nano-USD are free: calls may hold the rest.`);
  }
}
