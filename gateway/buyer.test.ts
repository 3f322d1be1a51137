import { afterAll, beforeAll, expect, test } from 'vitest';
import type { LocalWallet } from '../payments/chain/local.ts';
import { type BuyerLimits, buyerFetch } from './buyer.ts';
import { chatInit } from './testing-wallet-clients.ts';
import { startWalletGateway, type WalletGateway } from './testing-wallets.ts';

interface Offer {
  readonly accepts: { amount: string; payTo: string; asset: string; network: string }[];
}

let site: WalletGateway;
let payer: LocalWallet;

beforeAll(async () => {
  site = await startWalletGateway();
  payer = await site.payer();
});

afterAll(() => site[Symbol.asyncDispose]());

/** A way to the gateway on which somebody rewrites its offers, and sees what the buyer sends. */
function rewritten(change: (asked: Offer['accepts'][number]) => void) {
  const seen = { payments: 0 };
  const way: typeof fetch = async (input, init) => {
    const request = new Request(input, init);
    if (request.headers.has('payment-signature')) seen.payments++;
    const answer = await fetch(request);
    const offered = answer.headers.get('payment-required');
    if (offered === null) return answer;
    const offer = JSON.parse(Buffer.from(offered, 'base64').toString()) as Offer;
    for (const asked of offer.accepts) change(asked);
    const headers = new Headers(answer.headers);
    headers.set('payment-required', Buffer.from(JSON.stringify(offer)).toString('base64'));
    return new Response(await answer.text(), { status: answer.status, headers });
  };
  return { seen, way };
}

function limits(change: Partial<BuyerLimits> = {}): BuyerLimits {
  const { network } = site.chain;
  return { network, payTo: site.treasury.address, unitsPerPayment: 100_000n, unitsInAll: 200_000n, ...change };
}

test('T26: our client pays the address that its owner pinned what the cap allows', async () => {
  const { way, seen } = rewritten(() => {});
  const answer = await (await buyerFetch(payer.account, limits(), way))(site.url(), chatInit());
  expect(answer.status, await answer.clone().text()).toBe(200);
  expect(seen.payments).toBe(1);
});

test.each<[string, (asked: Offer['accepts'][number]) => void, string]>([
  ['above its cap', (asked) => Object.assign(asked, { amount: '100001' }), 'at most 100000'],
  ['to another payTo', (asked) => Object.assign(asked, { payTo: `0x${'66'.repeat(20)}` }), 'not 0x6666'],
  ['in another coin', (asked) => Object.assign(asked, { asset: `0x${'66'.repeat(20)}` }), ''],
  ['on another network', (asked) => Object.assign(asked, { network: 'eip155:8453' }), ''],
  ['of less than nothing', (asked) => Object.assign(asked, { amount: '-5' }), ''],
])('T26: our client refuses a quote %s, and signs nothing', async (_name, change, reason) => {
  const { way, seen } = rewritten(change);
  const left = await site.chain.usdcOf(payer.address);
  const pay = await buyerFetch(payer.account, limits(), way);
  await expect(pay(site.url(), chatInit())).rejects.toThrow(reason);
  expect(seen.payments).toBe(0);
  expect(await site.chain.usdcOf(payer.address)).toBe(left);
});

test('T26: our client refuses to be charged again and again: what it signs in all has an end', async () => {
  const { way, seen } = rewritten((asked) => Object.assign(asked, { amount: '90000' }));
  const pay = await buyerFetch(payer.account, limits(), way);
  const left = await site.chain.usdcOf(payer.address);
  for (let call = 0; call < 2; call++) expect((await pay(site.url(), chatInit())).status).toBe(200);
  await expect(pay(site.url(), chatInit())).rejects.toThrow('over 200000 units');
  expect(seen.payments).toBe(2);
  expect(await site.chain.usdcOf(payer.address)).toBe(left - 180_000n);
});
