import { decodePaymentResponseHeader } from '@x402/fetch';
import OpenAI from 'openai';
import { expect, test } from 'vitest';
import { lateResponse, offeredBy, wholeUnits } from './testing-channels.ts';
import { onCredit, paymentsOf, settleNow } from './testing-upto.ts';
import { chatInit, uptoFetch, uptoPayment } from './testing-wallet-clients.ts';
import { errorCode, shared, signedReceiptIn, startWalletGateway, withHeaders } from './testing-wallets.ts';

const common = shared(
  () => startWalletGateway({}, onCredit),
  (site) => site,
);

test('a stock client without ether signs a maximum for a stream, and what the call cost is moved afterwards, to the unit', async () => {
  await using site = await startWalletGateway({}, onCredit);
  const payer = await site.payer(5_000_000n);
  const pay = uptoFetch(site.chain, payer.account);
  // An approval is good after the one before it was used: each call ends when that is so, and the next may follow at once.
  for (let call = 0; call < 3; call++) {
    const answer = await pay(site.url(), chatInit({ stream: call !== 1 }));
    const text = await answer.text();
    expect(answer.status, text).toBe(200);
    expect(text).toContain(call === 1 ? 'chat.completion' : '[DONE]');
  }
  await settleNow(site);
  const payments = await paymentsOf(site, payer);
  expect(payments.map(({ state }) => state)).toEqual(['settled', 'settled', 'settled']);
  const units = payments.reduce((sum, { charged }) => sum + wholeUnits(charged ?? 0n), 0n);
  expect(await site.chain.usdcOf(payer.address)).toBe(5_000_000n - units);
  expect(await site.chain.usdcOf(site.treasury.address)).toBe(units);
});

const settledBy = (answer: Response) => decodePaymentResponseHeader(answer.headers.get('payment-response') ?? '');

test('a stream paid by `upto` begins with a payment response without an amount and ends with one that has it, both with a signed receipt', async () => {
  const site = await common();
  const payer = await site.payer();
  const answer = await uptoFetch(site.chain, payer.account)(site.url(), chatInit({ stream: true }));
  const served = {
    network: 'eip155:84532',
    payer: payer.address.toLowerCase(),
    resourceUrl: 'https://gate.example.com/v1/chat/completions',
    transaction: '',
  };
  const settled = { success: true, network: served.network, payer: served.payer };
  expect(settledBy(answer)).toMatchObject({ ...settled, transaction: '' });
  expect(settledBy(answer).amount).toBeUndefined();
  expect(await signedReceiptIn(site, answer)).toMatchObject(served);
  const late = lateResponse(await answer.text());
  const [payment] = await paymentsOf(site, payer);
  const amount = String(wholeUnits(payment?.charged ?? 0n));
  // The wallet has no ether: its approval is used, and its next call can sign another, before the stream ends.
  expect(payment?.state).toBe('settled');
  expect(settledBy(late)).toMatchObject({ ...settled, amount, transaction: expect.stringMatching(/^0x[0-9a-f]{64}$/) });
  expect(BigInt(amount)).toBeGreaterThan(0n);
  expect(await signedReceiptIn(site, late)).toMatchObject(served);
  await settleNow(site);
  expect(await site.chain.usdcOf(payer.address)).toBe(50_000_000n - BigInt(amount));
});

test('the stock openai client over the stock x402 client reads a stream paid by `upto` to its end', async () => {
  const site = await common();
  const payer = await site.payer();
  const client = new OpenAI({
    apiKey: 'none',
    baseURL: String(site.url('/v1')),
    defaultHeaders: { authorization: null },
    fetch: uptoFetch(site.chain, payer.account),
    maxRetries: 0,
  });
  const stream = await client.chat.completions.create({
    model: 'tiny',
    messages: [{ role: 'user', content: 'What is a fare gate?' }],
    max_tokens: 16,
    stream: true,
    stream_options: { include_usage: true },
  });
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  expect(chunks.map(({ choices }) => choices[0]?.finish_reason ?? null).findLast((reason) => reason !== null)).toBe(
    'length',
  );
  expect(chunks.at(-1)?.usage?.completion_tokens).toBe(16);
  await settleNow(site);
  expect((await paymentsOf(site, payer)).map(({ state }) => state)).toEqual(['settled']);
});

test('a whole answer paid by `upto` says what it cost in its payment response, with a signed receipt', async () => {
  const site = await common();
  const payer = await site.payer();
  const answer = await uptoFetch(site.chain, payer.account)(site.url(), chatInit());
  const [payment] = await paymentsOf(site, payer);
  expect(settledBy(answer)).toMatchObject({ success: true, amount: String(wholeUnits(payment?.charged ?? 0n)) });
  expect(await signedReceiptIn(site, answer)).toMatchObject({ payer: payer.address.toLowerCase() });
  await settleNow(site);
});

test('a stream paid by `upto` that breaks says at its end what was charged', async () => {
  await using site = await startWalletGateway({}, onCredit);
  const payer = await site.payer();
  for (const { faults } of site.gateway.simulators) faults.set({ fault: 'engine-error', afterTokens: 5, count: 1 });
  const answer = await uptoFetch(site.chain, payer.account)(site.url(), chatInit({ stream: true, max_tokens: 400 }));
  const late = lateResponse(await answer.text());
  const [payment] = await paymentsOf(site, payer);
  expect(settledBy(late).amount).toBe(String(wholeUnits(payment?.charged ?? 0n)));
  await settleNow(site);
});

test('`upto` is offered only where the worst case is within the risk cap, and not at all where none is configured', async () => {
  await using site = await startWalletGateway({}, { upto: { cap: 6_010_000n } });
  const schemes = async (init: RequestInit) =>
    offeredBy(await fetch(site.url(), init)).accepts.map(({ scheme }) => scheme);
  expect(await schemes(chatInit())).toEqual(['exact', 'batch-settlement', 'upto']);
  expect(await schemes(chatInit({ max_tokens: 8_000 }))).toEqual(['exact', 'batch-settlement']);
  await using cautious = await startWalletGateway({ simulators: [] });
  expect(cautious.gateway.running.gateway.payments?.credit).toBeNull();
});

test('T14: when a payer on credit leaves mid-stream, it is charged what came, and that is moved', async () => {
  const site = await common();
  const payer = await site.payer();
  const answer = await uptoFetch(site.chain, payer.account)(
    site.url(),
    chatInit({ stream: true, max_tokens: 2_000, min_tokens: 2_000 }),
  );
  const reader = answer.body?.getReader();
  await reader?.read();
  await reader?.cancel();
  await expect.poll(async () => (await paymentsOf(site, payer))[0]?.state, { timeout: 10_000 }).not.toBe('open');
  await settleNow(site);
  const [payment] = await paymentsOf(site, payer);
  expect(payment?.state).toBe('settled');
  expect(payment?.charged ?? 0n).toBeLessThan(payment?.most ?? 0n);
  expect(await site.chain.usdcOf(payer.address)).toBe(50_000_000n - wholeUnits(payment?.charged ?? 0n));
});

test('T5: a maximum that was settled at nothing is burnt: it is refused the next time', async () => {
  const site = await common();
  const payer = await site.payer();
  const init = chatInit();
  const paid = withHeaders(init, await uptoPayment(site.chain, payer.account, site.url(), init));
  const { body } = chatInit({ provider: { allow: { countries: ['AQ'] } } });
  expect((await fetch(site.url(), { ...paid, body: body ?? null })).status).toBeGreaterThan(402);
  expect((await paymentsOf(site, payer)).map(({ state }) => state)).toEqual(['burnt']);
  const again = await fetch(site.url(), paid);
  expect([again.status, await errorCode(again)]).toEqual([409, 'payment_used']);
});

test('T6: an answer whose length its caller leaves open ends at the signed maximum, and is settled', async () => {
  const price = { input: 1_000_000, cached_input: 500_000, output: 2_000_000_000, per_ms: 10 };
  await using site = await startWalletGateway({ price }, onCredit);
  const payer = await site.payer();
  const signed = chatInit({ max_tokens: 100, min_tokens: 100 });
  const header = await uptoPayment(site.chain, payer.account, site.url(), signed);
  const { max_tokens: _, ...body } = JSON.parse(String(signed.body)) as Record<string, unknown>;
  const answer = await fetch(site.url(), withHeaders({ ...signed, body: JSON.stringify(body) }, header));
  expect(answer.status, await answer.clone().text()).toBe(200);
  const { choices } = (await answer.json()) as { choices: { finish_reason: string }[] };
  expect(choices[0]?.finish_reason).toBe('length');
  expect(answer.headers.get('x-faregate-max-tokens')).toBe('100');
  await settleNow(site);
  const longer = chatInit({ max_tokens: 4_000 });
  const again = await uptoPayment(site.chain, payer.account, site.url(), signed);
  const dear = await fetch(site.url(), withHeaders(longer, again));
  expect([dear.status, await errorCode(dear)]).toEqual([402, 'insufficient_balance']);
  await settleNow(site);
  expect((await paymentsOf(site, payer)).map(({ state }) => state)).toEqual(['settled', 'burnt']);
});

test('T1: of 50 copies of one signed maximum at once one runs the model', async () => {
  const site = await common();
  const payer = await site.payer();
  const init = chatInit();
  const paid = withHeaders(init, await uptoPayment(site.chain, payer.account, site.url(), init));
  const answers = await Promise.all(Array.from({ length: 50 }, () => fetch(site.url(), paid)));
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
  // The others are copies, or more than one payer may have looked at at once.
  expect(answers.filter(({ status }) => status === 409 || status === 503)).toHaveLength(49);
  await settleNow(site);
  expect((await paymentsOf(site, payer)).map(({ state }) => state)).toEqual(['settled']);
});

test('T24: with `upto` too the 402 stays within 4 KB, and all of its headers within 8', async () => {
  const site = await common();
  const answer = await fetch(site.url(), chatInit());
  expect(offeredBy(answer).accepts).toHaveLength(3);
  expect(answer.headers.get('payment-required')?.length).toBeLessThan(4_096);
  const bytes = [...answer.headers].reduce((sum, [name, value]) => sum + name.length + value.length + 4, 0);
  expect(bytes).toBeLessThanOrEqual(8_192);
});
