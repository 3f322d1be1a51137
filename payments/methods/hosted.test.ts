/** T21: a facilitator is somebody else: what it says is a hint, and the chain is asked. */
import { expect, test } from 'vitest';
import type { Hex } from './authorization.ts';
import { type PaymentSite, startPaymentSite } from './testing.ts';
import { type SettleRequest, sendHonestly, startFacilitator } from './testing-facilitator.ts';

const UNITS = 2_000_000n;

const says = (transaction: string) => ({ success: true, transaction, network: 'eip155:84532', payer: '0x' });

async function fund(site: PaymentSite, settle: (request: SettleRequest) => Promise<object | null>) {
  await using hosted = await startFacilitator(settle);
  const { deposits } = site.open({ facilitator: { url: hosted.url, key: 'secret' }, gasKeys: [], waitMs: 400 });
  const payer = await site.chain.wallet({ usdc: UNITS, wei: 0n });
  const outcome = await deposits.fund('x402', await site.authorize(payer, UNITS), null);
  return { code: 'code' in outcome ? outcome.code : 'funded', balance: await site.balance(payer), payer };
}

test('T21: what an honest facilitator settles is credited', async () => {
  await using site = await startPaymentSite();
  const { code, balance } = await fund(site, async (request) => says(await sendHonestly(site.chain, request)));
  expect([code, balance]).toEqual(['funded', 2_000_000_000n]);
});

test('T21: a facilitator that says success and does nothing gets nothing credited', async () => {
  await using site = await startPaymentSite();
  const { code, balance } = await fund(site, async () => says(`0x${'ab'.repeat(32)}`));
  expect([code, balance]).toEqual(['unknown', null]);
});

test('T21: a facilitator that shows another payment’s transaction gets nothing credited twice', async () => {
  await using site = await startPaymentSite();
  let shown: Hex = '0x';
  const first = await fund(site, async (request) => {
    shown = await sendHonestly(site.chain, request);
    return says(shown);
  });
  expect(first.code).toBe('funded');
  const { code, balance } = await fund(site, async () => says(shown));
  expect([code, balance]).toEqual(['unknown', null]);
  expect(await site.chain.usdcOf(site.treasury.address)).toBe(UNITS);
});

test('T7: a facilitator that settles and then never answers, or says that it failed, is overruled by the chain', async () => {
  await using site = await startPaymentSite();
  for (const answer of [null, { success: false, errorReason: 'nope', transaction: '', network: 'eip155:84532' }]) {
    const { code, balance } = await fund(site, async (request) => {
      await sendHonestly(site.chain, request);
      return answer;
    });
    expect([code, balance]).toEqual(['funded', 2_000_000_000n]);
  }
});
