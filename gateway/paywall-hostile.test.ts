import fc from 'fast-check';
import { expect, test } from 'vitest';
import { chatInit, mppFetch, paymentFor } from './testing-wallet-clients.ts';
import { errorCode, sendAll, shared, startWalletGateway, withHeaders } from './testing-wallets.ts';

interface Payment {
  accepted: { extra: object } & Record<string, unknown>;
  payload: { authorization: object; signature: string };
}

const common = shared(
  async () => {
    const site = await startWalletGateway();
    return { site, payer: await site.payer() };
  },
  ({ site }) => site,
);

test('T10: the price is that of the body that runs: too small a payment is balance, and the rest is asked for', async () => {
  await using site = await startWalletGateway({
    price: { input: 0, cached_input: 0, output: 100_000_000_000, per_ms: 0 },
  });
  const payer = await site.payer();
  const cheap = await paymentFor(payer.account, site.url(), chatInit({ max_tokens: 16 }));
  const dear = await fetch(site.url(), withHeaders(chatInit({ max_tokens: 1_600 }), cheap));
  expect([dear.status, await errorCode(dear)]).toEqual([402, 'insufficient_balance']);
  const { balance, calls } = await site.account(dear.headers.get('x-faregate-key'));
  expect(calls).toHaveLength(0);
  expect(balance).toBe(await site.treasuryNanousd());
  expect(dear.headers.has('payment-response')).toBe(true);
  expect(dear.headers.has('payment-required')).toBe(true);
});

test.each<[string, object]>([
  ['n', { n: 3 }],
  ['the prompt', { messages: [{ role: 'user', content: 'What is a fare gate? '.repeat(400) }] }],
  ['max_tokens left open', { max_tokens: undefined }],
])('T10: with %s changed after the quote, the call that runs is held at its own price', async (_name, change) => {
  await using site = await startWalletGateway({
    price: { input: 1_000_000_000, cached_input: 0, output: 100_000_000_000, per_ms: 0 },
  });
  const payer = await site.payer();
  const cheap = await paymentFor(payer.account, site.url(), chatInit({ max_tokens: 16 }));
  const other = await fetch(site.url(), withHeaders(chatInit({ max_tokens: 16, ...change }), cheap));
  const { balance, charged } = await site.account(other.headers.get('x-faregate-key'));
  const paid = await site.treasuryNanousd();
  expect(balance + charged).toBe(paid);
  // An answer whose length was left open is cut to what was paid; the others cost more than that.
  if ('max_tokens' in change) expect(Number(other.headers.get('x-faregate-max-tokens'))).toBeLessThanOrEqual(16);
  else expect([other.status, await errorCode(other), charged]).toEqual([402, 'insufficient_balance', 0n]);
  expect(BigInt(other.headers.get('x-faregate-held-nanousd') ?? 0)).toBeLessThanOrEqual(paid);
});

test('T10: an MPP payment for another body is refused and moves nothing', async () => {
  await using site = await startWalletGateway();
  const payer = await site.payer();
  let credential = '';
  const spy: typeof fetch = async (input, init) => {
    const request = new Request(input, init);
    credential = request.headers.get('authorization') ?? '';
    return credential === '' ? fetch(request) : new Response('kept');
  };
  await mppFetch(payer.account, spy)(site.url(), chatInit({ max_tokens: 16 }));
  const other = await fetch(site.url(), chatInit({ max_tokens: 17 }, { authorization: credential }));
  expect([other.status, await errorCode(other)]).toEqual([402, 'payment_invalid']);
  expect(await site.payments()).toEqual({});
  const same = await fetch(site.url(), chatInit({ max_tokens: 16 }, { authorization: credential }));
  expect(same.status).toBe(200);
});

test.each<[string, (payment: Payment) => void]>([
  ['network', ({ accepted }) => Object.assign(accepted, { network: 'eip155:8453' })],
  ['asset', ({ accepted }) => Object.assign(accepted, { asset: `0x${'11'.repeat(20)}` })],
  ['payTo', ({ accepted }) => Object.assign(accepted, { payTo: `0x${'11'.repeat(20)}` })],
  ['scheme', ({ accepted }) => Object.assign(accepted, { scheme: 'upto' })],
  ['token name', ({ accepted }) => Object.assign(accepted.extra, { name: 'USD Coin' })],
  ['token version', ({ accepted }) => Object.assign(accepted.extra, { version: '1' })],
  ['receiver', ({ payload }) => Object.assign(payload.authorization, { to: `0x${'11'.repeat(20)}` })],
  ['amount of 18 decimals', ({ payload }) => Object.assign(payload.authorization, { value: `1${'0'.repeat(24)}` })],
  ['amount beside the accepted one', ({ payload }) => Object.assign(payload.authorization, { value: '7000' })],
  ['end in the past', ({ payload }) => Object.assign(payload.authorization, { validBefore: '1' })],
  ['x402 version', (payment) => Object.assign(payment, { x402Version: 1 })],
])('T11: a payment with a wrong %s is refused, and nothing of it is kept', async (_name, spoil) => {
  const { payer, site } = await common();
  const init = chatInit();
  const header = (await paymentFor(payer.account, site.url(), init))['PAYMENT-SIGNATURE'] ?? '';
  const payment = JSON.parse(Buffer.from(header, 'base64').toString()) as Payment;
  spoil(payment);
  const before = await site.payments();
  const spoilt = Buffer.from(JSON.stringify(payment)).toString('base64');
  const answer = await fetch(site.url(), withHeaders(init, { 'payment-signature': spoilt }));
  expect([answer.status, await errorCode(answer)]).toEqual([402, 'payment_invalid']);
  expect(answer.headers.has('payment-required')).toBe(true);
  expect(await site.payments()).toEqual(before);
});

test('T11: a forged signature takes nobody’s place: the real payment goes through after it', async () => {
  const { payer, site } = await common();
  const init = chatInit();
  const real = await paymentFor(payer.account, site.url(), init);
  const payment = JSON.parse(Buffer.from(real['PAYMENT-SIGNATURE'] ?? '', 'base64').toString()) as Payment;
  payment.payload.signature = payment.payload.signature.replace(/^0x..../, '0xabcd');
  const forged = Buffer.from(JSON.stringify(payment)).toString('base64');
  const refused = await fetch(site.url(), withHeaders(init, { 'payment-signature': forged }));
  expect([refused.status, await errorCode(refused)]).toEqual([402, 'payment_invalid']);
  expect((await fetch(site.url(), withHeaders(init, real))).status).toBe(200);
});

test.each<[string, (payment: string) => Record<string, string>]>([
  ['two payment headers', (payment) => ({ 'payment-signature': payment, 'x-payment': payment })],
  ['x402 and MPP together', (payment) => ({ 'payment-signature': payment, authorization: 'Payment eyJ9' })],
  ['no base64', () => ({ 'payment-signature': '%%%' })],
  ['no JSON', () => ({ 'payment-signature': Buffer.from('nope').toString('base64') })],
  ['JSON of another kind', () => ({ 'payment-signature': Buffer.from('[1,null]').toString('base64') })],
  ['an empty header', () => ({ 'payment-signature': '' })],
  ['MPP of nothing', () => ({ authorization: 'Payment e30' })],
  ['12 KB of nothing', () => ({ 'payment-signature': 'A'.repeat(12_000) })],
  ['64 KB of nothing', () => ({ 'payment-signature': 'A'.repeat(64_000) })],
])('T20: %s is refused with 400, 402 or 431, never 500, and moves nothing', async (_name, headersOf) => {
  const { payer, site } = await common();
  const before = await site.payments();
  const payment = (await paymentFor(payer.account, site.url(), chatInit()))['PAYMENT-SIGNATURE'] ?? '';
  const answer = await fetch(site.url(), chatInit({}, headersOf(payment)));
  expect([400, 402, 431]).toContain(answer.status);
  expect(await site.payments()).toEqual(before);
});

test('T20: no payment, however spoilt, is ever a 500, and none moves money twice', async () => {
  const { payer, site } = await common();
  const real = (await paymentFor(payer.account, site.url(), chatInit()))['PAYMENT-SIGNATURE'] ?? '';
  const text = Buffer.from(real, 'base64').toString();
  const [settled = 0n, before] = [(await site.payments()).settled, await site.chain.usdcOf(payer.address)];
  const place = fc.nat(text.length - 1);
  const spoilt = fc.oneof(
    place.map((end) => text.slice(0, end)),
    // What is hit may be a part that nobody reads: then it is the real payment, and good once.
    fc
      .tuple(place, fc.constantFrom('"', '{', 'null,', '\\u0000', '-1', '0'))
      .map(([at, more]) => text.slice(0, at) + more + text.slice(at + 1)),
    fc.json(),
  );
  await sendAll(site, spoilt, 200);
  const { amount } = (JSON.parse(text) as { accepted: { amount: string } }).accepted;
  const last = await fetch(site.url(), chatInit({}, { 'payment-signature': real }));
  expect([200, 409]).toContain(last.status);
  expect((await site.payments()).settled).toBe(settled + 1n);
  expect(await site.chain.usdcOf(payer.address)).toBe(before - BigInt(amount));
});

test('T20: a wrong key beside a payment is 401, and the payment stays good', async () => {
  const { payer, site } = await common();
  const headers = await paymentFor(payer.account, site.url(), chatInit());
  const answer = await fetch(site.url(), chatInit({}, { ...headers, authorization: 'Bearer nobody' }));
  expect(answer.status).toBe(401);
  expect((await fetch(site.url(), chatInit({}, headers))).status).toBe(200);
});
