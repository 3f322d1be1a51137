/** The GET twins of the inference routes: where stock x402 clients ask for what their channel has left. */
import type { Context } from 'hono';
import { z } from 'zod';
import type { Refunded } from '../payments/methods/method.ts';
import { inferencePaths } from './completions.ts';
import { apiError } from './errors.ts';
import { offerOf, PRIVATE, type Purchase } from './offer.ts';
import { type Caller, identify, refused } from './paywall.ts';
import type { Gateway } from './platform.ts';
import { publicUrl, type Route } from './route.ts';
import { money } from './route-schemas.ts';

const nothing = new Uint8Array();

const refundRoutes = Object.values(inferencePaths).map(
  (path): Route => ({
    method: 'get',
    path,
    summary:
      'Give back what a payment channel (x402 `batch-settlement`) has left, less what its calls were charged: the 402 says what to sign. Nothing else is here to GET.',
    security: null,
    response: z.strictObject({
      object: z.literal('channel_refund'),
      account: z.string(),
      nanousd: money,
      transaction: z.string(),
    }),
    example: {
      response: {
        object: 'channel_refund',
        account: 'acct_0198f3a09d8e7c6b5a4f3e2d1c0b9a87',
        nanousd: '950000000',
        transaction: '0x5d2f0e6a0b1c9d8e7f60514233241506f7e8d9cabb0c1d2e3f405162738495a6',
      },
    },
    async serve(gateway: Gateway, context: Context): Promise<Response> {
      if (gateway.payments?.channels == null)
        throw apiError('method_not_allowed', `${path} takes POST.`, { headers: { allow: 'POST' } });
      const caller = await identify(gateway, { header: (name) => context.req.header(name) });
      const purchase = offered(gateway, context, path);
      const refunded = await refundOf(gateway, caller, purchase);
      const { accountId: account, amount, transaction, headers } = refunded;
      const answer = { object: 'channel_refund', account, nanousd: String(amount), transaction };
      return context.json(answer, 200, { ...PRIVATE, ...headers });
    },
  }),
);

async function refundOf(gateway: Gateway, caller: Caller, purchase: Purchase): Promise<Refunded> {
  const { payment, mistake } = caller;
  const ask = payment?.refund ?? null;
  if (ask === null) {
    const reason = mistake ?? 'Sign a refund of your channel, or POST a call.';
    throw apiError(
      'payment_required',
      reason,
      offerOf(gateway, { principal: null }, purchase, purchase.amount, mistake),
    );
  }
  const refunded = await ask();
  if ('code' in refunded) throw refused(gateway, caller, purchase, refunded);
  return refunded;
}

/** The least of all calls: whoever asks for a refund pays nothing. */
function offered(gateway: Gateway, context: Context, path: string): Purchase {
  return {
    amount: 1n,
    isCall: true,
    shortens: false,
    url: `${publicUrl(gateway, context)}${path}`,
    description: 'A refund of a channel',
    body: nothing,
    breakdown: {},
  };
}

export const channelRouteList: readonly Route[] = refundRoutes;
