import { ExactEvmScheme } from '@x402/evm/exact/client';
import { createSIWxClientExtension, createSIWxPayload, encodeSIWxHeader } from '@x402/extensions/sign-in-with-x';
import { wrapFetchWithPayment, x402Client } from '@x402/fetch';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { LocalWallet } from '../payments/chain/local.ts';
import { chatInit, mppFetch, x402Fetch } from './testing-wallet-clients.ts';
import {
  errorCode,
  signedReceiptIn,
  startWalletGateway,
  topupInit,
  type WalletGateway,
  withHeaders,
} from './testing-wallets.ts';

let site: WalletGateway;

beforeAll(async () => {
  site = await startWalletGateway();
});

afterAll(async () => {
  await site[Symbol.asyncDispose]();
});

/** A wallet that has an account, and the account's first key. */
async function known(): Promise<{ payer: LocalWallet; key: string; account: string }> {
  const payer = await site.payer();
  const answer = await x402Fetch(payer.account)(site.url('/v1/topups'), topupInit(500_000_000n));
  const { key, account } = (await answer.json()) as { key: string; account: string };
  return { payer, key, account };
}

interface Text {
  domain: string;
  uri: string;
  version: string;
  statement: string;
  nonce: string;
  issuedAt: string;
  expirationTime: string;
  chainId: string;
  type: 'eip191';
}

/** Signs in as the stock library does, to whatever the text says. */
async function signed(payer: LocalWallet, change: Partial<Text> = {}): Promise<string> {
  const text = { ...((await (await fetch(site.url('/v1/sign-in'))).json()) as Text), ...change };
  return encodeSIWxHeader(await createSIWxPayload(text, payer.account, new URL(text.uri)));
}

const ask = (path: string, header: string, init: RequestInit = {}) =>
  fetch(site.url(path), withHeaders(init, { 'sign-in-with-x': header }));

test('a top-up without a key fills the wallet’s own account, to the atomic unit, and brings its key once', async () => {
  const payer = await site.payer();
  const pay = x402Fetch(payer.account);
  const first = (await (await pay(site.url('/v1/topups'), topupInit(100_000_001n))).json()) as Record<string, string>;
  // A part of a unit is rounded up, in the payer's favour.
  expect(first).toMatchObject({ object: 'topup', nanousd: '100001000', balance_nanousd: '100001000' });
  const second = (await (await pay(site.url('/v1/topups'), topupInit(100_000_000n))).json()) as Record<string, string>;
  expect(second).toMatchObject({ account: first.account, balance_nanousd: '200001000', key: null });
  expect((await site.account(first.key ?? '')).balance).toBe(200_001_000n);
});

test('a top-up with a key fills the account of the key, by x402 and by MPP', async () => {
  const { key, account } = await known();
  const other = await site.payer();
  for (const pay of [x402Fetch(other.account), mppFetch(other.account)]) {
    const answer = await pay(site.url('/v1/topups'), topupInit(250_000_000n, { authorization: `Bearer ${key}` }));
    expect(await answer.json()).toMatchObject({ account, nanousd: '250000000', key: null });
  }
  expect((await site.account(key)).balance).toBe(1_000_000_000n);
});

test('a key alone tops nothing up, and is told how to pay', async () => {
  const { key } = await known();
  const answer = await fetch(site.url('/v1/topups'), topupInit(1_000_000n, { authorization: `Bearer ${key}` }));
  expect([answer.status, await errorCode(answer)]).toEqual([402, 'payment_required']);
  expect(answer.headers.has('payment-required') && answer.headers.has('www-authenticate')).toBe(true);
});

test('a wallet that signs in sees its account, calls from it, and makes keys of it', async () => {
  const { payer, key, account } = await known();
  const seen = await ask('/v1/account', await signed(payer));
  expect(await seen.json()).toMatchObject({ id: account, balance_nanousd: '500000000' });
  const call = await ask('/v1/chat/completions', await signed(payer), chatInit());
  expect(call.status, await call.clone().text()).toBe(200);
  const made = await ask('/v1/keys', await signed(payer), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"name":"recovered"}',
  });
  const { key: recovered } = (await made.json()) as { key: string };
  expect((await site.account(recovered)).balance).toBe((await site.account(key)).balance);
});

test('T22: a wallet can end a key that was stolen from it, and goes on', async () => {
  const { payer, key } = await known();
  const list = (await (await ask('/v1/keys', await signed(payer))).json()) as { data: { id: string }[] };
  const stolen = list.data.at(-1)?.id ?? '';
  expect((await ask(`/v1/keys/${stolen}`, await signed(payer), { method: 'DELETE' })).status).toBe(200);
  await expect(site.account(key)).rejects.toThrow('invalid_api_key');
  expect((await ask('/v1/account', await signed(payer))).status).toBe(200);
});

test('T22: a sign-in works once', async () => {
  const { payer } = await known();
  const header = await signed(payer);
  const statuses = await Promise.all(Array.from({ length: 10 }, async () => (await ask('/v1/account', header)).status));
  expect(statuses.filter((status) => status === 200)).toHaveLength(1);
  expect(statuses.filter((status) => status === 401)).toHaveLength(9);
});

test.each<[string, Partial<Text>]>([
  ['another domain', { domain: 'evil.example.com', uri: 'https://evil.example.com/' }],
  ['another origin', { domain: 'gate.example.com', uri: 'http://gate.example.com/' }],
  ['another chain', { chainId: 'eip155:8453' }],
  ['a nonce of its own', { nonce: 'ab'.repeat(34) }],
  ['an end in the past', { expirationTime: '2025-01-01T00:00:00.000Z' }],
])('T22: a sign-in to %s is refused, whatever Host says', async (_name, change) => {
  const { payer } = await known();
  const answer = await ask('/v1/account', await signed(payer, change), { headers: { host: change.domain ?? 'x' } });
  expect([answer.status, await errorCode(answer)]).toEqual([401, 'invalid_api_key']);
});

test('T22: nobody signs in for another wallet', async () => {
  const [{ payer: victim }, thief] = [await known(), await site.payer()];
  const text = (await (await fetch(site.url('/v1/sign-in'))).json()) as Text;
  const payload = await createSIWxPayload(text, thief.account, new URL(text.uri));
  const answer = await ask('/v1/account', encodeSIWxHeader({ ...payload, address: victim.address }));
  expect([answer.status, await errorCode(answer)]).toEqual([401, 'invalid_api_key']);
});

test('T25: a wallet that never paid signs in to nothing', async () => {
  const stranger = await site.payer();
  expect((await ask('/v1/account', await signed(stranger))).status).toBe(401);
  const call = await ask('/v1/chat/completions', await signed(stranger), chatInit());
  expect([call.status, await errorCode(call)]).toEqual([402, 'payment_required']);
});

test('the stock x402 client that can sign in spends the balance of its wallet before it pays again', async () => {
  const { payer } = await known();
  const left = await site.chain.usdcOf(payer.address);
  const client = new x402Client().register('eip155:84532', new ExactEvmScheme(payer.account));
  client.registerExtension(createSIWxClientExtension({ signers: [payer.account] }));
  // The gateway stands behind the name that it is configured with, as it does behind a proxy.
  const proxied: typeof fetch = async (input, init) => {
    const request = new Request(input, init);
    const answer = await fetch(site.url(new URL(request.url).pathname), {
      method: request.method,
      headers: request.headers,
      body: await request.text(),
    });
    return Object.defineProperty(answer, 'url', { value: request.url });
  };
  const answer = await wrapFetchWithPayment(proxied, client)(
    'https://gate.example.com/v1/chat/completions',
    chatInit(),
  );
  expect(answer.status, await answer.clone().text()).toBe(200);
  expect(await site.chain.usdcOf(payer.address)).toBe(left);
});

test('the receipt in PAYMENT-RESPONSE verifies with the stock library and the keys that this host publishes', async () => {
  const payer = await site.payer();
  const answer = await x402Fetch(payer.account)(site.url(), chatInit());
  expect(await signedReceiptIn(site, answer)).toMatchObject({
    version: 1,
    network: 'eip155:84532',
    payer: payer.address.toLowerCase(),
    resourceUrl: 'https://gate.example.com/v1/chat/completions',
    transaction: expect.stringMatching(/^0x[0-9a-f]{64}$/),
  });
});
