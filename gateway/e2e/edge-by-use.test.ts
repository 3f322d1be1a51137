/** Channels and credit at the edge: vouchers and maxima checked and spent on Workers, deposits, refunds, claims and charges by the gateway on Node. */
import { privateKeyToAddress } from 'viem/accounts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  channelsOf,
  chargedBy,
  claimNow,
  lateResponse,
  offeredBy,
  voucherHeader,
  wholeUnits,
} from '../testing-channels.ts';
import { approve, CAP, onCredit, paymentsOf, settleNow } from '../testing-upto.ts';
import { channelClient, chatInit, uptoFetch, uptoPayment } from '../testing-wallet-clients.ts';
import { errorCode, signedReceiptIn, startWalletGateway, type WalletGateway, withHeaders } from '../testing-wallets.ts';
import { type Edge, startEdge } from './edge.ts';

let site: WalletGateway;
let edge: Edge;

beforeAll(async () => {
  site = await startWalletGateway({}, onCredit);
  const [mover] = site.gateway.running.gateway.platform.config.payments?.gasKeys ?? [];
  edge = await startEdge(site.gateway.database.url, {
    FAREGATE_URL: 'https://gate.example.com',
    FAREGATE_NETWORK: 'base-sepolia',
    FAREGATE_RPC_URL: site.chain.url,
    FAREGATE_PAY_TO: site.treasury.address,
    FAREGATE_CHANNEL_AUTHORIZER: site.treasury.address,
    FAREGATE_CHANNEL_DEPOSIT_NANOUSD: '10000000',
    FAREGATE_UPTO_MOVER: privateKeyToAddress(mover ?? '0x'),
    FAREGATE_UPTO_CAP_NANOUSD: String(CAP),
  });
});

afterAll(async () => {
  await edge.stop();
  await site[Symbol.asyncDispose]();
});

const at = (path = '/v1/chat/completions') => new URL(path, edge.url);

test('T18: a stock client opens a channel at the edge, pays calls there and on Node by vouchers, is refunded at the edge, and is out what they cost', async () => {
  const payer = await site.payer();
  const client = channelClient(site.chain, payer.account);
  for (const [url, stream] of [
    [at(), true],
    [at(), false],
    [site.url(), true],
    [at(), true],
  ] as const) {
    const answer = await client.fetch(url, chatInit({ stream }));
    const text = await answer.text();
    expect(answer.status, text).toBe(200);
    expect(text).toContain(stream ? 'data: [DONE]' : 'chat.completion');
    expect(await signedReceiptIn(site, answer)).toMatchObject({ payer: payer.address.toLowerCase() });
  }
  const [channel] = await channelsOf(site);
  expect(channel?.calls).toBe(4n);
  const units = wholeUnits(channel?.charged ?? 0n);
  expect(units).toBeGreaterThan(0n);
  await client.scheme.refund(String(at()));
  expect(await site.chain.usdcOf(payer.address)).toBe(50_000_000n - units);
  await claimNow(site);
  expect((await channelsOf(site))[0]).toMatchObject({ claimed: units });
});

test('T1, T18: of ten copies of one voucher, at the edge and on Node at once, one runs the model; what is unsigned or exceeds the deposit pays nothing', async () => {
  const payer = await site.payer();
  const client = channelClient(site.chain, payer.account);
  const opened = await client.fetch(at(), chatInit());
  expect(opened.status, await opened.clone().text()).toBe(200);
  const base = chargedBy(opened).cumulative;
  const init = chatInit();
  const paid = withHeaders(init, await voucherHeader(site, init, { payer: payer.account, base }));
  const answers = await Promise.all(
    Array.from({ length: 10 }, (_, copy) => fetch(copy % 2 === 0 ? at() : site.url(), paid)),
  );
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
  const { cumulative } = chargedBy(answers.find(({ status }) => status === 200) as Response);
  const thief = await site.payer();
  for (const voucher of [
    { payer: payer.account, base: cumulative, signer: thief.account },
    { payer: payer.account, base: cumulative, amount: 50_000_000n },
    { payer: payer.account, base },
  ]) {
    const refused = await fetch(at(), withHeaders(init, await voucherHeader(site, init, voucher)));
    expect([refused.status, await errorCode(refused)]).toEqual([402, 'payment_invalid']);
  }
  const channels = await channelsOf(site);
  expect(channels.at(-1)?.calls).toBe(2n);
});

test('T4: a wallet that has not the money for a deposit is refused at the edge, in the words of the chain, and nothing is sent', async () => {
  const poor = await site.payer(1_000n);
  const refused = await channelClient(site.chain, poor.account).fetch(at(), chatInit());
  expect([refused.status, await errorCode(refused)]).toEqual([402, 'payment_invalid']);
  expect(offeredBy(refused).error).toBe('invalid_batch_settlement_evm_deposit_simulation_failed');
});

test('a stream paid by `upto` at the edge is charged what it cost, which the gateway on Node moves before it ends', async () => {
  const payer = await site.payer();
  const pay = uptoFetch(site.chain, payer.account);
  for (const url of [at(), at(), site.url()]) {
    const answer = await pay(url, chatInit({ stream: true }));
    const text = await answer.text();
    expect(answer.status, text).toBe(200);
    expect(await signedReceiptIn(site, lateResponse(text))).toMatchObject({
      payer: payer.address.toLowerCase(),
    });
  }
  const payments = await paymentsOf(site, payer);
  expect(payments.map(({ state }) => state)).toEqual(['settled', 'settled', 'settled']);
  await settleNow(site);
  const units = payments.reduce((sum, { charged }) => sum + wholeUnits(charged ?? 0n), 0n);
  expect(units).toBeGreaterThan(0n);
  expect(await site.chain.usdcOf(payer.address)).toBe(50_000_000n - units);
});

test('T3: of ten maxima of a payer that has the money for one, at the edge and on Node at once, one is served', async () => {
  const init = chatInit();
  const offered = offeredBy(await fetch(at(), init)).accepts.find(({ scheme }) => scheme === 'upto');
  const payer = await site.payer(BigInt(offered?.amount ?? 0));
  await approve(site, payer);
  const headers = await Promise.all(
    Array.from({ length: 10 }, () => uptoPayment(site.chain, payer.account, at(), init)),
  );
  const answers = await Promise.all(
    headers.map((header, turn) => fetch(turn % 2 === 0 ? at() : site.url(), withHeaders(init, header))),
  );
  const statuses = answers.map(({ status }) => status);
  expect(statuses.filter((status) => status === 200)).toHaveLength(1);
  expect(statuses.filter((status) => status === 402)).toHaveLength(9);
  await settleNow(site);
  expect((await paymentsOf(site, payer)).map(({ state }) => state)).toEqual(['settled']);
});

test('T14: while a stream runs at the edge its channel is stood for, and when its payer leaves it is charged what came and is free again', async () => {
  const payer = await site.payer();
  const client = channelClient(site.chain, payer.account);
  const answer = await client.fetch(at(), chatInit({ stream: true, max_tokens: 2_000, min_tokens: 2_000 }));
  expect(answer.status).toBe(200);
  const reader = answer.body?.getReader();
  const inFlight = async () => {
    const [row] = await site.gateway.database.sql<{ until: Date | null }[]>`
      select request_until as until from channel where payer like ${`%:${payer.address.toLowerCase()}`}`;
    return row?.until?.getTime() ?? null;
  };
  const until = (await inFlight()) ?? 0;
  const reading = (async () => {
    while (!(await reader?.read())?.done);
  })().catch(() => {});
  await expect.poll(inFlight, { timeout: 15_000 }).toBeGreaterThan(until);
  await reader?.cancel();
  await reading;
  await expect.poll(inFlight, { timeout: 15_000 }).toBeNull();
  const again = await client.fetch(at(), chatInit());
  expect(again.status, await again.clone().text()).toBe(200);
  const channel = (await channelsOf(site)).at(-1);
  expect(channel?.calls).toBe(2n);
  await claimNow(site);
  expect((await channelsOf(site)).at(-1)).toMatchObject({ claimed: wholeUnits(channel?.charged ?? 0n) });
}, 60_000);

test('T24: with all rails on at the edge the 402 stays within 4 KB, and offers what Node offers', async () => {
  const [here, there] = await Promise.all([fetch(at(), chatInit()), fetch(site.url(), chatInit())]);
  expect(here.headers.get('payment-required')?.length).toBeLessThan(4_096);
  expect(offeredBy(here).accepts).toEqual(offeredBy(there).accepts);
});
