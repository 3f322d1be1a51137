import { appendPaymentIdentifierToExtensions } from '@x402/extensions/payment-identifier';
import { expect, test } from 'vitest';
import { chatInit, mppFetch, paymentFor, x402Fetch } from './testing-wallet-clients.ts';
import {
  errorCode,
  shared,
  startWalletGateway,
  topupInit,
  type WalletGateway,
  withHeaders,
} from './testing-wallets.ts';

const common = shared(
  async () => {
    const site = await startWalletGateway();
    return { site, payer: await site.payer() };
  },
  ({ site }) => site,
);

/** Calls that the workers still compute. */
async function running({ gateway: { simulators } }: WalletGateway): Promise<number> {
  const pages = await Promise.all(simulators.map(async ({ url }) => (await fetch(`${url}/metrics`)).text()));
  const gauges = pages.flatMap((page) => [...page.matchAll(/^vllm:num_requests_running\{.*\} (\S+)$/gm)]);
  expect(gauges.length).toBeGreaterThan(0);
  return gauges.reduce((sum, [, value]) => sum + Number(value), 0);
}

test('a stock x402 client without a key pays, is answered as it streams, and keeps its change under a key', async () => {
  await using site = await startWalletGateway();
  const payer = await site.payer();
  const answer = await x402Fetch(payer.account)(site.url(), chatInit({ stream: true }));
  const text = await answer.text();
  expect(answer.status, text).toBe(200);
  expect(text).toContain('data: [DONE]');
  expect(answer.headers.get('payment-response')).toBeTruthy();
  const paid = await site.chain.usdcOf(site.treasury.address);
  expect(await site.chain.usdcOf(payer.address)).toBe(50_000_000n - paid);
  const { balance, charged, calls } = await site.account(answer.headers.get('x-faregate-key'));
  expect(calls).toHaveLength(1);
  expect(charged).toBeGreaterThan(0n);
  expect(balance + charged).toBe(paid * 1_000n);
});

test('a stock MPP client pays the same 402', async () => {
  await using site = await startWalletGateway();
  const payer = await site.payer();
  const answer = await mppFetch(payer.account)(site.url(), chatInit());
  expect(answer.status, await answer.clone().text()).toBe(200);
  expect(answer.headers.get('payment-receipt')).toBeTruthy();
});

test('T1: of 50 copies of one payment at once one runs the model, and its money is credited once', async () => {
  await using site = await startWalletGateway();
  const payer = await site.payer();
  const paid = withHeaders(chatInit(), await paymentFor(payer.account, site.url(), chatInit()));
  const answers = await Promise.all(Array.from({ length: 50 }, () => fetch(site.url(), paid)));
  const statuses = answers.map(({ status }) => status);
  expect(statuses.filter((status) => status === 200)).toHaveLength(1);
  expect(statuses.filter((status) => status === 409)).toHaveLength(49);
  const key = answers.find(({ status }) => status === 200)?.headers.get('x-faregate-key') ?? '';
  const { calls, balance, charged } = await site.account(key);
  expect(calls).toHaveLength(1);
  expect(balance + charged).toBe(await site.treasuryNanousd());
  expect(await site.payments()).toEqual({ settled: 1n });
});

test('T1: a payment that was used is refused afterwards too, without a new offer to pay', async () => {
  await using site = await startWalletGateway();
  const payer = await site.payer();
  const paid = withHeaders(chatInit(), await paymentFor(payer.account, site.url(), chatInit()));
  expect((await fetch(site.url(), paid)).status).toBe(200);
  const again = await fetch(site.url(), paid);
  expect([again.status, await errorCode(again)]).toEqual([409, 'payment_used']);
  expect(again.headers.has('payment-required')).toBe(false);
});

test('a key that a payment brought spends the change, and nothing more is paid', async () => {
  await using site = await startWalletGateway();
  const payer = await site.payer();
  const pay = x402Fetch(payer.account);
  const first = await pay(site.url('/v1/topups'), topupInit(20_000_000n));
  const { key } = (await first.json()) as { key: string };
  const left = await site.chain.usdcOf(payer.address);
  const answer = await pay(site.url(), chatInit({}, { authorization: `Bearer ${key}` }));
  expect(answer.status).toBe(200);
  expect(await site.chain.usdcOf(payer.address)).toBe(left);
});

test('a key with too little money is told how to pay, and a stock client then pays into its account', async () => {
  await using site = await startWalletGateway({ balanceNanousd: 1_000n });
  const payer = await site.payer();
  const init = chatInit({}, { authorization: `Bearer ${site.gateway.apiKey}` });
  const refused = await fetch(site.url(), init);
  expect([refused.status, await errorCode(refused)]).toEqual([402, 'insufficient_balance']);
  for (const pay of [x402Fetch(payer.account), mppFetch(payer.account)]) {
    const answer = await pay(
      site.url(),
      chatInit({ max_tokens: 4_000 }, { authorization: `Bearer ${site.gateway.apiKey}` }),
    );
    expect(answer.status, await answer.clone().text()).toBe(200);
    expect(answer.headers.has('x-faregate-key')).toBe(false);
    expect(answer.headers.get('x-faregate-account')).toBe(site.gateway.accountId);
  }
});

test('T7: a payment that is not seen in time is pending, without an offer to pay again, and lets its call in when it is seen', async () => {
  await using site = await startWalletGateway({ limits: { paymentMs: 100 } });
  const payer = await site.payer();
  const paid = withHeaders(chatInit(), await paymentFor(payer.account, site.url(), chatInit()));
  await site.chain.client.setAutomine(false);
  for (let times = 0; times < 2; times++) {
    const pending = await fetch(site.url(), paid);
    expect([pending.status, await errorCode(pending)]).toEqual([503, 'payment_pending']);
    expect(pending.headers.has('payment-required') || pending.headers.has('www-authenticate')).toBe(false);
  }
  await site.chain.client.mine({ blocks: 1 });
  expect((await fetch(site.url(), paid)).status).toBe(200);
  expect(await site.payments()).toEqual({ settled: 1n });
});

test('T13: when no worker answers, the whole payment is balance', async () => {
  await using site = await startWalletGateway({ simulators: [{ model: 'tiny' }] });
  const payer = await site.payer();
  const paid = await paymentFor(payer.account, site.url(), chatInit());
  await Promise.all(site.gateway.simulators.map((simulator) => simulator.close()));
  const answer = await fetch(site.url(), withHeaders(chatInit(), paid));
  expect(answer.status).toBeGreaterThanOrEqual(500);
  const { balance } = await site.account(answer.headers.get('x-faregate-key'));
  expect(balance).toBe(await site.treasuryNanousd());
});

test('T13: of a stream that its worker broke, the payer is charged what was delivered and keeps the rest', async () => {
  await using site = await startWalletGateway();
  const payer = await site.payer();
  for (const { faults } of site.gateway.simulators) faults.set({ fault: 'engine-error', afterTokens: 5, count: 1 });
  const answer = await x402Fetch(payer.account)(site.url(), chatInit({ stream: true, max_tokens: 400 }));
  expect(await answer.text()).toContain('"code":"worker_failed"');
  const { balance, charged, calls } = await site.account(answer.headers.get('x-faregate-key'));
  expect(calls[0]).toMatchObject({ outcome: 'failed', usage: { completion_tokens: 5 } });
  expect(charged).toBeGreaterThan(0n);
  expect(balance).toBeGreaterThan(charged);
  expect(balance + charged).toBe(await site.treasuryNanousd());
});

test('T14: when a payer leaves mid-stream its worker stops, it is charged what came, and the payment is settled', async () => {
  await using site = await startWalletGateway({ simulators: [{ decodeBaseMs: 20 }] });
  const payer = await site.payer();
  const answer = await x402Fetch(payer.account)(
    site.url(),
    chatInit({ stream: true, max_tokens: 2_000, min_tokens: 1_000 }),
  );
  const reader = answer.body?.getReader();
  await reader?.read();
  await reader?.cancel();
  const key = answer.headers.get('x-faregate-key') ?? '';
  expect(answer.status).toBe(200);
  await expect.poll(async () => (await site.account(key)).calls[0]?.outcome).toBe('aborted');
  await expect.poll(() => running(site)).toBe(0);
  const { balance, charged } = await site.account(key);
  expect(charged).toBeGreaterThan(0n);
  expect(balance + charged).toBe(await site.treasuryNanousd());
});

test('T16: the same payment under the same Idempotency-Key is given the same answer and headers; another body is refused', async () => {
  await using site = await startWalletGateway();
  const payer = await site.payer();
  const headers = await paymentFor(payer.account, site.url(), chatInit());
  const ask = (body: object) => fetch(site.url(), chatInit(body, { ...headers, 'idempotency-key': 'once' }));
  const first = await ask({});
  const second = await ask({});
  expect(await second.text()).toBe(await first.text());
  for (const name of ['payment-response', 'x-faregate-key', 'x-faregate-call'])
    expect(second.headers.get(name)).toBe(first.headers.get(name));
  const other = await ask({ max_tokens: 17 });
  expect([other.status, await errorCode(other)]).toEqual([422, 'idempotency_mismatch']);
});

test('T16: a payment with the x402 identifier of an earlier one is given its answer, and with another payment it is refused by 409', async () => {
  await using site = await startWalletGateway();
  let payer = await site.payer();
  const named = async () => {
    const headers = await paymentFor(payer.account, site.url(), chatInit());
    const payment = JSON.parse(Buffer.from(headers['PAYMENT-SIGNATURE'] ?? '', 'base64').toString()) as {
      extensions: Record<string, unknown>;
    };
    appendPaymentIdentifierToExtensions(payment.extensions, 'pay_one_and_only_0001');
    return Buffer.from(JSON.stringify(payment)).toString('base64');
  };
  const payment = await named();
  const ask = (header: string) => fetch(site.url(), chatInit({}, { 'payment-signature': header }));
  const first = await ask(payment);
  const second = await ask(payment);
  expect([first.status, second.status]).toEqual([200, 200]);
  expect(await second.text()).toBe(await first.text());
  expect(second.headers.get('payment-response')).toBe(first.headers.get('payment-response'));
  const other = await ask(await named());
  expect([other.status, await errorCode(other)]).toEqual([409, 'payment_identifier_used']);
  expect(await site.payments()).toEqual({ settled: 1n });
  // A name is its payer's own: another wallet's request of the same name is another request.
  payer = await site.payer();
  expect((await ask(await named())).status).toBe(200);
});

test('T19: what was paid for, and what is to be paid, is kept by no cache', async () => {
  const { payer, site } = await common();
  const offered = await fetch(site.url(), chatInit());
  const answer = await x402Fetch(payer.account)(site.url(), chatInit());
  const stream = await mppFetch(payer.account)(site.url(), chatInit({ stream: true }));
  const refused = await x402Fetch(payer.account)(site.url(), chatInit({ provider: { allow: { countries: ['AQ'] } } }));
  expect([answer.status, stream.status]).toEqual([200, 200]);
  expect(refused.status).toBeGreaterThan(402);
  for (const { headers } of [offered, answer, stream, refused])
    expect(headers.get('cache-control')).toContain('no-store, private');
  // What is in front of us is not to press a stream into blocks either.
  expect(stream.headers.get('cache-control')).toContain('no-transform');
});

test('T21: with no node in reach what is prepaid goes on, and a payment is told to come back, unmoved', async () => {
  await using site = await startWalletGateway({}, { rpcUrls: ['http://127.0.0.1:9'] });
  const payer = await site.payer();
  const keyed = await fetch(site.url(), chatInit({}, { authorization: `Bearer ${site.gateway.apiKey}` }));
  expect(keyed.status).toBe(200);
  const paid = withHeaders(chatInit(), await paymentFor(payer.account, site.url(), chatInit()));
  const answer = await fetch(site.url(), paid);
  expect([answer.status, await errorCode(answer)]).toEqual([503, 'payments_unavailable']);
  expect(answer.headers.has('payment-required')).toBe(false);
  expect(await site.chain.usdcOf(payer.address)).toBe(50_000_000n);
});

test('T21: whoever floods with payments is told to wait, while the payments of others go through', async () => {
  await using site = await startWalletGateway({ limits: { paymentsPerPayer: 2 } });
  const [flooding, other] = [await site.payer(), await site.payer()];
  const paid = await Promise.all(
    Array.from({ length: 8 }, async () => paymentFor(flooding.account, site.url(), chatInit())),
  );
  await site.chain.client.setAutomine(false);
  const flood = paid.map((headers) => fetch(site.url(), withHeaders(chatInit(), headers)));
  const refused = await Promise.race(flood);
  expect([refused.status, await errorCode(refused)]).toEqual([503, 'payments_unavailable']);
  const served = x402Fetch(other.account)(site.url(), chatInit());
  await expect.poll(async () => (await site.chain.client.getTxpoolStatus()).pending).toBe(3);
  await site.chain.client.setAutomine(true);
  await site.chain.client.mine({ blocks: 1 });
  expect((await served).status).toBe(200);
  const statuses = (await Promise.all(flood)).map(({ status }) => status);
  expect(statuses.filter((status) => status === 200)).toHaveLength(2);
  expect(statuses.filter((status) => status === 503)).toHaveLength(6);
  expect(await site.payments()).toEqual({ settled: 3n });
});

test('T24: the offer is at most 2 KB of PAYMENT-REQUIRED and 8 KB of headers, and says in the body how it came about', async () => {
  const { site } = await common();
  const answer = await fetch(
    site.url(),
    chatInit({ max_tokens: 4_000, messages: [{ role: 'user', content: 'x'.repeat(4_000) }] }),
  );
  const bytes = [...answer.headers].reduce((sum, [name, value]) => sum + name.length + value.length + 4, 0);
  expect(answer.headers.get('payment-required')?.length).toBeLessThanOrEqual(2_048);
  expect(bytes).toBeLessThanOrEqual(8_192);
  const { error, payment } = (await answer.json()) as { error: object; payment: object };
  expect(error).toMatchObject({ type: 'insufficient_quota', param: null, code: 'payment_required' });
  expect(payment).toMatchObject({
    network: 'eip155:84532',
    quote: { completion_tokens_max: 4_000 },
    topups: { path: '/v1/topups' },
  });
});

test('T25: a wallet that never paid has nothing: no call, no account', async () => {
  const { site } = await common();
  const poor = await site.chain.wallet({ usdc: 0n, wei: 0n });
  const answer = await x402Fetch(poor.account)(site.url(), chatInit());
  expect([answer.status, await errorCode(answer)]).toEqual([402, 'payment_invalid']);
  const accounts = await site.gateway.database
    .sql`select from wallet where id like ${`%${poor.address.toLowerCase()}`}`;
  expect(accounts).toHaveLength(0);
});
