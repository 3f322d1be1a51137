import { decodePaymentResponseHeader } from '@x402/fetch';
import { afterAll, expect, test } from 'vitest';
import type { LocalWallet } from '../payments/chain/local.ts';
import { PERMIT2 } from '../payments/chain/networks.ts';
import { lateResponse, offeredBy, wholeUnits } from './testing-channels.ts';
import { chatInit, uptoFetch, uptoPayment } from './testing-wallet-clients.ts';
import { errorCode, signedReceiptIn, startWalletGateway, type WalletGateway, withHeaders } from './testing-wallets.ts';

const CAP = 20_000_000n;
const onCredit = { upto: { cap: CAP } };

let common: Promise<WalletGateway> | null = null;

function shared(): Promise<WalletGateway> {
  common ??= startWalletGateway({}, onCredit);
  return common;
}

afterAll(async () => {
  await (await common)?.[Symbol.asyncDispose]();
});

/** Moves what is due, as it is done by the clock, until the chain has decided. */
async function settleNow({ gateway }: WalletGateway): Promise<void> {
  const { payments, ledger } = gateway.running.gateway;
  await ledger.settler.drain();
  await payments?.credit?.credit.round();
  await payments?.sender?.tendOnce();
  await payments?.sender?.tendOnce();
  await payments?.credit?.credit.round();
}

async function paymentsOf({ gateway }: WalletGateway, { address }: LocalWallet) {
  return gateway.database.sql<{ state: string; charged: bigint | null; most: bigint }[]>`
    select state, charged_nanousd as charged, most_nanousd as most from upto_payment
    where payer_id like ${`%:${address.toLowerCase()}`} order by id`;
}

/** Lets Permit2 move all of a wallet's USDC. */
async function approve({ chain }: WalletGateway, wallet: LocalWallet, units = 10n ** 12n): Promise<void> {
  await chain.client.setBalance({ address: wallet.address, value: 10n ** 18n });
  const { address } = chain.network.usdc;
  const data = await chain.client.writeContract({
    account: wallet.account,
    address,
    abi: [
      {
        type: 'function',
        name: 'approve',
        stateMutability: 'nonpayable',
        inputs: [
          { name: 'spender', type: 'address' },
          { name: 'value', type: 'uint256' },
        ],
        outputs: [{ type: 'bool' }],
      },
    ],
    functionName: 'approve',
    args: [PERMIT2, units],
  });
  await chain.client.waitForTransactionReceipt({ hash: data });
}

test('a stock client without ether signs a maximum for a stream, and what the call cost is moved afterwards, to the unit', async () => {
  await using site = await startWalletGateway({}, onCredit);
  const payer = await site.payer(5_000_000n);
  const pay = uptoFetch(site.chain, payer.account);
  let paid = 0n;
  for (let call = 0; call < 3; call++) {
    const answer = await pay(site.url(), chatInit({ stream: true }));
    const text = await answer.text();
    expect(answer.status, text).toBe(200);
    expect(text).toContain('[DONE]');
    // An approval is good after the one before it was used.
    await expect.poll(() => site.chain.usdcOf(site.treasury.address)).toBeGreaterThan(paid);
    paid = await site.chain.usdcOf(site.treasury.address);
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
  const site = await shared();
  const payer = await site.payer();
  const answer = await uptoFetch(site.chain, payer.account)(site.url(), chatInit({ stream: true }));
  const served = {
    network: 'eip155:84532',
    payer: payer.address.toLowerCase(),
    resourceUrl: 'https://gate.example.com/v1/chat/completions',
    transaction: '',
  };
  const settled = { success: true, network: served.network, payer: served.payer, transaction: '' };
  expect(settledBy(answer)).toMatchObject(settled);
  expect(settledBy(answer).amount).toBeUndefined();
  expect(await signedReceiptIn(site, answer)).toMatchObject(served);
  const late = lateResponse(await answer.text());
  const [payment] = await paymentsOf(site, payer);
  const amount = String(wholeUnits(payment?.charged ?? 0n));
  expect(settledBy(late)).toMatchObject({ ...settled, amount });
  expect(BigInt(amount)).toBeGreaterThan(0n);
  expect(await signedReceiptIn(site, late)).toMatchObject(served);
  await settleNow(site);
  expect(await site.chain.usdcOf(payer.address)).toBe(50_000_000n - BigInt(amount));
});

test('a whole answer paid by `upto` says what it cost in its payment response, with a signed receipt', async () => {
  const site = await shared();
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

test('T3: of ten maxima of a payer at once that has the money for one, one is served and nine are refused before any work', async () => {
  const site = await shared();
  const init = chatInit();
  const most = BigInt(
    offeredBy(await fetch(site.url(), init)).accepts.find(({ scheme }) => scheme === 'upto')?.amount ?? 0,
  );
  const payer = await site.payer(most);
  await approve(site, payer);
  const headers = await Promise.all(
    Array.from({ length: 10 }, () => uptoPayment(site.chain, payer.account, site.url(), init)),
  );
  const answers = await Promise.all(headers.map((header) => fetch(site.url(), withHeaders(init, header))));
  expect(answers.map(({ status }) => status).filter((status) => status === 200)).toHaveLength(1);
  expect(answers.map(({ status }) => status).filter((status) => status === 402)).toHaveLength(9);
  expect(await paymentsOf(site, payer)).toHaveLength(1);
  await settleNow(site);
});

test('T3: a payer with much money has no more open at once than the risk cap', async () => {
  await using site = await startWalletGateway({ simulators: [{ rttMs: 300 }] }, onCredit);
  const payer = await site.payer(50_000_000n);
  await approve(site, payer);
  const init = chatInit({ max_tokens: 64 });
  const offered = offeredBy(await fetch(site.url(), init)).accepts.find(({ scheme }) => scheme === 'upto');
  const most = BigInt(offered?.amount ?? 0) * 1_000n;
  const fit = Number(CAP / most);
  const headers = await Promise.all(
    Array.from({ length: fit + 3 }, () => uptoPayment(site.chain, payer.account, site.url(), init)),
  );
  const answers = await Promise.all(headers.map((header) => fetch(site.url(), withHeaders(init, header))));
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(fit);
  const refused = answers.filter(({ status }) => status === 402);
  expect(refused).toHaveLength(3);
  for (const answer of refused) expect(await errorCode(answer)).toBe('payment_invalid');
  await settleNow(site);
  expect((await paymentsOf(site, payer)).every(({ state }) => state === 'settled')).toBe(true);
});

test('T4: who empties its wallet between verify and settle costs one call within the cap, and is refused afterwards', async () => {
  await using site = await startWalletGateway({}, onCredit);
  const payer = await site.payer(5_000_000n);
  const pay = uptoFetch(site.chain, payer.account);
  const answer = await pay(site.url(), chatInit());
  expect(answer.status, await answer.clone().text()).toBe(200);
  await site.chain.fund(payer.address, 0n);
  await settleNow(site);
  const [payment] = await paymentsOf(site, payer);
  expect(payment?.state).toBe('lost');
  expect(payment?.charged ?? 0n).toBeLessThanOrEqual(CAP);
  await site.chain.fund(payer.address, 5_000_000n);
  const again = await pay(site.url(), chatInit());
  expect([again.status, await errorCode(again)]).toEqual([402, 'payment_invalid']);
  const [shortfall] = await site.gateway.database.sql<
    { balance: bigint }[]
  >`select balance from account where id = 'shortfall'`;
  expect(shortfall?.balance).toBe(-(payment?.charged ?? 0n));
});

test('T5: a maximum that was settled at nothing is burnt: it is refused the next time', async () => {
  const site = await shared();
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
  const site = await shared();
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

test('T24: with `upto` too the 402 stays within 4 KB', async () => {
  const site = await shared();
  const answer = await fetch(site.url(), chatInit());
  expect(offeredBy(answer).accepts).toHaveLength(3);
  expect(answer.headers.get('payment-required')?.length).toBeLessThan(4_096);
});
