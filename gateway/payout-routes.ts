/** Payouts to operators: where they go and what became of them, by the operator's key; when they go, by the host's. */
import { z } from 'zod';
import { newId } from '../payments/ledger.ts';
import { listPayouts, type Payout } from '../payments/payouts/booking.ts';
import {
  bookOperatorPayout,
  type PayoutRefusal,
  payableOf,
  payableOperators,
  payoutAddressOf,
  setPayoutAddress,
} from '../payments/payouts/operators.ts';
import { type ApiError, apiError } from './errors.ts';
import { payNow, payoutExample, payoutSchema, payoutView, requirePayouts } from './payout-view.ts';
import type { Gateway } from './platform.ts';
import { defineRoute, type Route } from './route.ts';
import { label, listOf, money, page } from './route-schemas.ts';
import { settled } from './settled.ts';

const SECONDS_PER_HOUR = 3_600;

const listExample = { object: 'list', data: [payoutExample], has_more: false } as const;

const settingsSchema = z.strictObject({
  address: z.string().nullable().describe('where your payouts go; null: nowhere, tell us first'),
  network: z.string().describe('by CAIP-2'),
  payable_nanousd: money.describe('what a payout would bring now'),
  held_back_nanousd: money.describe('earned too recently'),
  hold_back_hours: z.number(),
  minimum_nanousd: money.describe('less is not paid unless the host wants it so'),
  every_hours: z.number().nullable().describe('how often operators are paid; null: when the host says so'),
});

const settingsExample: z.input<typeof settingsSchema> = {
  address: payoutExample.to,
  network: payoutExample.network,
  payable_nanousd: '41250000000',
  held_back_nanousd: '1830000000',
  hold_back_hours: 72,
  minimum_nanousd: '1000000000',
  every_hours: 24,
};

const getSettings = defineRoute({
  method: 'get',
  path: '/operator/v1/payout-settings',
  summary: 'Where your payouts go, what one would bring now, and what is held back.',
  security: 'operator',
  response: settingsSchema,
  example: { response: settingsExample },
  handler: ({ gateway, principal }) => settingsOf(gateway, principal.ownerId),
});

const putSettings = defineRoute({
  method: 'put',
  path: '/operator/v1/payout-settings',
  summary: 'Say where your payouts go from now on. Those that are on their way keep their address.',
  security: 'operator',
  body: z.strictObject({
    address: z.string().regex(/^0x[0-9a-fA-F]{40}$/, 'expected an address of 20 bytes in hex'),
  }),
  response: settingsSchema,
  example: { body: { address: payoutExample.to }, response: settingsExample },
  async handler({ gateway, principal, body }) {
    const { treasury } = requirePayouts(gateway);
    const { payoutAddress } = await import('../payments/payouts/address.ts');
    const address = payoutAddress(body.address, [treasury.asset, treasury.address]);
    if (address === null) {
      throw apiError('invalid_request', 'No payout can go there: check each digit.', { param: 'address' });
    }
    await setPayoutAddress(gateway.platform.database.sql, principal.ownerId, address);
    return settingsOf(gateway, principal.ownerId);
  },
});

const listOwnPayouts = defineRoute({
  method: 'get',
  path: '/operator/v1/payouts',
  summary: 'Your payouts with their transactions, the newest first.',
  security: 'operator',
  query: page,
  response: listOf(payoutSchema),
  example: { query: { limit: 20 }, response: listExample },
  handler: ({ gateway, principal, query }) => payoutPage(gateway, principal.ownerId, query),
});

const listAllPayouts = defineRoute({
  method: 'get',
  path: '/admin/v1/payouts',
  summary: 'The payouts of all operators, the newest first.',
  security: 'admin',
  query: page,
  response: listOf(payoutSchema),
  example: { query: { limit: 20 }, response: listExample },
  handler: ({ gateway, query }) => payoutPage(gateway, null, query),
});

const payOperators = defineRoute({
  method: 'post',
  path: '/admin/v1/payouts',
  summary:
    'Pay operators what they earned, but for what is held back: one of them, or all with an address and enough to be worth it. Sent in batches.',
  security: 'admin',
  body: z.strictObject({
    operator: z.string().optional(),
    reference: label.optional().describe('once for each payout of an operator: the same again changes nothing'),
  }),
  response: listOf(payoutSchema),
  example: { body: { operator: payoutExample.account, reference: payoutExample.reference }, response: listExample },
  async handler({ gateway, body: { operator, reference = newId('ref') } }) {
    await settled(gateway);
    const booked =
      operator === undefined ? await bookAll(gateway, reference) : [await bookOne(gateway, operator, reference)];
    return { object: 'list', data: (await payNow(gateway, booked)).map(payoutView), has_more: false };
  },
});

export const operatorPayoutRouteList: readonly Route[] = [getSettings, putSettings, listOwnPayouts];
export const adminPayoutRouteList: readonly Route[] = [payOperators, listAllPayouts];

async function settingsOf(gateway: Gateway, operatorId: string): Promise<z.input<typeof settingsSchema>> {
  const { treasury, terms } = requirePayouts(gateway);
  await settled(gateway);
  const { sql } = gateway.platform.database;
  const { payable, heldBack } = await payableOf(sql, operatorId, terms);
  return {
    address: await payoutAddressOf(sql, operatorId),
    network: treasury.network,
    payable_nanousd: String(payable),
    held_back_nanousd: String(heldBack),
    hold_back_hours: terms.holdBackSeconds / SECONDS_PER_HOUR,
    minimum_nanousd: String(terms.minimum),
    every_hours: terms.everySeconds === null ? null : terms.everySeconds / SECONDS_PER_HOUR,
  };
}

/** The host asked for this one by name: the minimum is for those who are not asked for. */
async function bookOne(gateway: Gateway, operatorId: string, reference: string): Promise<Payout> {
  const { treasury, terms } = requirePayouts(gateway);
  const order = { operatorId, reference };
  const booked = await bookOperatorPayout(gateway.platform.database.sql, treasury, order, { ...terms, minimum: 0n });
  if ('code' in booked) throw refusal(booked);
  return booked;
}

async function bookAll(gateway: Gateway, reference: string): Promise<Payout[]> {
  const { treasury, terms } = requirePayouts(gateway);
  const { sql } = gateway.platform.database;
  const booked: Payout[] = [];
  for (const operatorId of await payableOperators(sql)) {
    const payout = await bookOperatorPayout(sql, treasury, { operatorId, reference }, terms);
    if (!('code' in payout)) booked.push(payout);
  }
  return booked;
}

async function payoutPage(gateway: Gateway, accountId: string | null, { limit, after }: z.output<typeof page>) {
  const found = await listPayouts(gateway.platform.database.sql, accountId, { limit: limit + 1, after: after ?? null });
  return { object: 'list' as const, data: found.slice(0, limit).map(payoutView), has_more: found.length > limit };
}

function refusal(refused: PayoutRefusal): ApiError {
  switch (refused.code) {
    case 'no_operator':
      return apiError('not_found', 'There is no operator of this id.');
    case 'no_address':
      return apiError('invalid_request', 'This operator has not said where to: PUT /operator/v1/payout-settings.', {
        param: 'operator',
      });
    case 'below_minimum':
      return apiError('invalid_request', `Only ${refused.payable} nano-USD of this operator can be paid out now.`, {
        param: 'operator',
      });
  }
}
