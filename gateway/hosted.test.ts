/** A hosted facilitator as configuration: what a whole gateway offers then, and whom it believes. */
import { encodePaymentSignatureHeader } from '@x402/core/http';
import { expect, test } from 'vitest';
import { type SettleRequest, sendHonestly, startFacilitator } from '../payments/methods/testing-facilitator.ts';
import { offeredBy } from './testing-channels.ts';
import { chatInit, mppFetch, x402Fetch } from './testing-wallet-clients.ts';
import { errorCode, startWalletGateway, type WalletGateway, withHeaders } from './testing-wallets.ts';

/** A gateway that has all keys, and all ways to pay configured, and leaves transfers to somebody else. */
async function hostedSite(settle: (site: WalletGateway, request: SettleRequest) => Promise<object>) {
  const site: { gateway?: WalletGateway } = {};
  const facilitator = await startFacilitator((request) => settle(site.gateway as WalletGateway, request));
  const hosted = { facilitator: { url: facilitator.url, key: null }, upto: { cap: 20_000_000n } };
  site.gateway = await startWalletGateway({}, hosted);
  const { gateway } = site;
  const dispose = async () => {
    await gateway[Symbol.asyncDispose]();
    await facilitator[Symbol.asyncDispose]();
  };
  return { site: gateway, [Symbol.asyncDispose]: dispose };
}

const says = (transaction: string) => ({ success: true, transaction, network: 'eip155:84532', payer: '0x' });

test('T21: a hosted facilitator settles what stock x402 and MPP clients pay for their streams, and every unit of it is balance or charge', async () => {
  await using hosted = await hostedSite(async ({ chain }, request) => says(await sendHonestly(chain, request)));
  const { site } = hosted;
  for (const pay of [x402Fetch, mppFetch]) {
    const payer = await site.payer();
    const before = await site.treasuryNanousd();
    const answer = await pay(payer.account)(site.url(), chatInit({ stream: true }));
    expect(await answer.text()).toContain('data: [DONE]');
    const { balance, charged } = await site.account(answer.headers.get('x-faregate-key'));
    expect(balance + charged).toBe((await site.treasuryNanousd()) - before);
    expect(charged).toBeGreaterThan(0n);
  }
});

test('T21: while the hosted facilitator is away prepaid calls go on, and a payment is pending, not failed: nothing is moved, and nobody is told to pay again', async () => {
  const facilitator = { url: 'http://127.0.0.1:9', key: null };
  await using site = await startWalletGateway({ limits: { paymentMs: 500 } }, { facilitator });
  const keyed = await fetch(site.url(), chatInit({}, { authorization: `Bearer ${site.gateway.apiKey}` }));
  expect(keyed.status).toBe(200);
  const payer = await site.payer();
  const answer = await x402Fetch(payer.account)(site.url(), chatInit());
  expect([answer.status, await errorCode(answer)]).toEqual([503, 'payment_pending']);
  expect(answer.headers.has('payment-required')).toBe(false);
  expect(await site.treasuryNanousd()).toBe(0n);
});

test('T21: with a hosted facilitator, which settles transfers alone, neither channels nor `upto` are offered, taken or refunded', async () => {
  await using hosted = await hostedSite(async () => says(`0x${'ab'.repeat(32)}`));
  const { site } = hosted;
  const { payments } = site.gateway.running.gateway;
  expect([payments?.channels, payments?.credit]).toEqual([null, null]);
  const { accepts, resource, extensions } = offeredBy(await fetch(site.url(), chatInit()));
  expect(accepts.map(({ scheme }) => scheme)).toEqual(['exact']);
  expect(extensions).not.toHaveProperty('eip2612GasSponsoring');
  for (const scheme of ['batch-settlement', 'upto']) {
    const [exact] = accepts;
    if (exact === undefined) throw new Error('nothing is offered');
    const credential = { x402Version: 2, resource, accepted: { ...exact, scheme }, payload: {} };
    const header = { 'payment-signature': encodePaymentSignatureHeader(credential) };
    const refused = await fetch(site.url(), withHeaders(chatInit(), header));
    expect([refused.status, await errorCode(refused)]).toEqual([402, 'payment_invalid']);
  }
  expect((await fetch(site.url())).status).toBe(405);
});
