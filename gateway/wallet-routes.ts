/** What wallets do beside calling: pay ahead, and ask what to sign in with. */
import type { Context } from 'hono';
import { z } from 'zod';
import { balances } from '../payments/ledger.ts';
import { apiError } from './errors.ts';
import { askedBy, identify, pay } from './paywall.ts';
import type { Gateway } from './platform.ts';
import { check, publicUrl, type Route } from './route.ts';
import { readBody, readJson } from './route-body.ts';
import { respondOnce } from './route-once.ts';
import { amount, money } from './route-schemas.ts';
import { settled } from './settled.ts';

const TOPUPS = '/v1/topups';

const topupBody = z.strictObject({ nanousd: amount.refine((nanousd) => nanousd > 0n, 'expected more than 0') });

const topUp: Route = {
  method: 'post',
  path: TOPUPS,
  summary:
    'Pay ahead with a wallet: the 402 says how, by x402 and MPP. With a key, into its account; without, into the wallet’s own, whose key is in `x-faregate-key`.',
  security: null,
  body: topupBody,
  response: z.strictObject({
    object: z.literal('topup'),
    account: z.string(),
    nanousd: money,
    balance_nanousd: money,
    key: z.string().nullable().describe('of the account, shown this once; null where it has one'),
  }),
  example: {
    body: { nanousd: '1000000000' },
    response: {
      object: 'topup',
      account: 'acct_0198f3a09d8e7c6b5a4f3e2d1c0b9a87',
      nanousd: '1000000000',
      balance_nanousd: '1000000000',
      key: 'fg_live_4fT0aYcN2mWqPz7RxLh9KdVbEoSuGi36XjB1q',
    },
  },
  async serve(gateway: Gateway, context: Context): Promise<Response> {
    if (gateway.payments === null) throw noWallets();
    const caller = await identify(gateway, { header: (name) => context.req.header(name) });
    const bytes = await readBody(context.req.raw, gateway.platform.config.limits);
    const { nanousd } = check(topupBody, readJson(bytes));
    const purchase = () => ({
      amount: nanousd,
      shortens: false,
      isCall: false,
      url: `${publicUrl(gateway, context)}${TOPUPS}`,
      description: 'Balance for inference',
      body: bytes,
      breakdown: { nanousd: String(nanousd) },
    });
    const respond = async () => {
      // A key alone pays nothing: whoever sends one is told how to pay for its account.
      if (caller.payment === null && caller.principal !== null && caller.mistake === null)
        throw apiError(
          'payment_required',
          'Pay this with a wallet (x402 or MPP).',
          (await pay(gateway, caller, purchase)).offer(nanousd),
        );
      const fare = await pay(gateway, caller, purchase);
      const account = fare.principal.ownerId;
      await settled(gateway);
      const { prepaid, escrow } = await balances(gateway.platform.database.sql, account);
      const deposited = fare.headers['x-faregate-deposited-nanousd'] ?? '0';
      const key = fare.headers['x-faregate-key'] ?? null;
      const answer = { object: 'topup', account, nanousd: deposited, balance_nanousd: String(prepaid + escrow), key };
      return context.json(answer, 200, { ...fare.headers });
    };
    return respondOnce(gateway, context.req.raw, askedBy(caller, TOPUPS, bytes), respond);
  },
};

const signInText: Route = {
  method: 'get',
  path: '/v1/sign-in',
  summary:
    'What a wallet signs (CAIP-122) to use its account without a key: send it with the signature in `SIGN-IN-WITH-X`, on any route here. Good once, for five minutes.',
  security: null,
  response: z.strictObject({
    domain: z.string(),
    uri: z.string(),
    version: z.literal('1'),
    statement: z.string(),
    nonce: z.string(),
    issuedAt: z.iso.datetime(),
    expirationTime: z.iso.datetime(),
    chainId: z.string(),
    type: z.literal('eip191'),
  }),
  example: {
    response: {
      domain: 'gate.example.com',
      uri: 'https://gate.example.com/',
      version: '1',
      statement: 'Use the balance of this wallet.',
      nonce: '8f3a0b1c2d4e5f60718293a40198f3a09d8e7c6b5a4f3e2d1c0b9a870a1b2c3d4e5f',
      issuedAt: '2025-08-29T02:26:01.200Z',
      expirationTime: '2025-08-29T02:31:01.200Z',
      chainId: 'eip155:8453',
      type: 'eip191',
    },
  },
  serve(gateway: Gateway, context: Context): Response {
    const signIn = gateway.payments?.signIn ?? null;
    const network = gateway.platform.config.payments?.network.id;
    if (signIn === null || network === undefined) throw noWallets();
    const answer = { ...signIn.challenge(), chainId: network, type: 'eip191' };
    return context.json(answer, 200, { 'cache-control': 'no-store' });
  },
};

export const walletRouteList: readonly Route[] = [topUp, signInText];

function noWallets() {
  return apiError('not_found', 'Wallets cannot pay at this gateway: its host gives out keys.');
}
