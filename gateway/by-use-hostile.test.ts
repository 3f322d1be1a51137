/** What is paid by the use (vouchers from channels, maxima on credit) under callers who mean no good. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { LocalWallet } from '../payments/chain/local.ts';
import { channelsOf, chargedBy, claimNow, voucherHeader, wholeUnits } from './testing-channels.ts';
import { onCredit, paymentsOf, settleNow } from './testing-upto.ts';
import { channelClient, chatInit, uptoFetch, uptoPayment } from './testing-wallet-clients.ts';
import { errorCode, sendAll, shared, startWalletGateway, type WalletGateway, withHeaders } from './testing-wallets.ts';

interface Credential {
  accepted: Record<string, unknown>;
  payload: {
    channelConfig: object;
    voucher: object;
    permit2Authorization: { permitted: object; witness: object };
  };
}

interface Channel {
  readonly payer: LocalWallet;
  /** The header of a good voucher for the least call. */
  readonly voucher: string;
}

const common = shared(
  async () => {
    const site = await startWalletGateway({}, onCredit);
    return { site, ...(await opened(site)) };
  },
  ({ site }) => site,
);

async function opened(site: WalletGateway): Promise<Channel> {
  const payer = await site.payer();
  const answer = await channelClient(site.chain, payer.account).fetch(site.url(), chatInit());
  const base = chargedBy(answer).cumulative;
  const header = await voucherHeader(site, chatInit(), { payer: payer.account, base });
  return { payer, voucher: header['PAYMENT-SIGNATURE'] ?? header['payment-signature'] ?? '' };
}

const maximumOf = async (site: WalletGateway, payer: LocalWallet) =>
  (await uptoPayment(site.chain, payer.account, site.url(), chatInit()))['PAYMENT-SIGNATURE'] ?? '';

const decoded = (header: string) => JSON.parse(Buffer.from(header, 'base64').toString()) as Credential;
const encoded = (credential: object) => Buffer.from(JSON.stringify(credential)).toString('base64');

/** The state that payments by the use leave. */
async function kept({ gateway }: WalletGateway): Promise<unknown> {
  const { sql } = gateway.database;
  return [
    await sql`select id, announced_units, credited_nanousd, request_id from channel order by id`,
    await sql`select id, state from upto_payment order by id`,
  ];
}

const elsewhere = `0x${'11'.repeat(20)}`;

test.each<[string, (credential: Credential) => void]>([
  ['network', ({ accepted }) => Object.assign(accepted, { network: 'eip155:8453' })],
  ['asset', ({ accepted }) => Object.assign(accepted, { asset: elsewhere })],
  ['payTo', ({ accepted }) => Object.assign(accepted, { payTo: elsewhere })],
  ['scheme', ({ accepted }) => Object.assign(accepted, { scheme: 'upto' })],
  ['amount', ({ accepted }) => Object.assign(accepted, { amount: '1' })],
  ['amount of 18 decimals', ({ accepted }) => Object.assign(accepted, { amount: `1${'0'.repeat(24)}` })],
  ['receiver', ({ payload }) => Object.assign(payload.channelConfig, { receiver: elsewhere })],
  ['key for claims', ({ payload }) => Object.assign(payload.channelConfig, { receiverAuthorizer: elsewhere })],
  ['token', ({ payload }) => Object.assign(payload.channelConfig, { token: elsewhere })],
  ['time to withdraw', ({ payload }) => Object.assign(payload.channelConfig, { withdrawDelay: 900 })],
  ['channel', ({ payload }) => Object.assign(payload.voucher, { channelId: `0x${'11'.repeat(32)}` })],
  ['ceiling', ({ payload }) => Object.assign(payload.voucher, { maxClaimableAmount: '49000000' })],
])('T11: a voucher with a wrong %s is refused, and nothing of it is kept', async (_name, spoil) => {
  const { site, voucher } = await common();
  const credential = decoded(voucher);
  spoil(credential);
  const before = await kept(site);
  const answer = await fetch(site.url(), withHeaders(chatInit(), { 'payment-signature': encoded(credential) }));
  expect([answer.status, await errorCode(answer)]).toEqual([402, 'payment_invalid']);
  expect(answer.headers.has('payment-required')).toBe(true);
  expect(await kept(site)).toEqual(before);
});

test.each<[string, (credential: Credential) => void]>([
  ['network', ({ accepted }) => Object.assign(accepted, { network: 'eip155:8453' })],
  ['asset', ({ accepted }) => Object.assign(accepted, { asset: elsewhere })],
  ['payTo', ({ accepted }) => Object.assign(accepted, { payTo: elsewhere })],
  ['scheme', ({ accepted }) => Object.assign(accepted, { scheme: 'batch-settlement' })],
  ['amount', ({ payload }) => Object.assign(payload.permit2Authorization.permitted, { amount: '19000' })],
  ['token', ({ payload }) => Object.assign(payload.permit2Authorization.permitted, { token: elsewhere })],
  ['spender', ({ payload }) => Object.assign(payload.permit2Authorization, { spender: elsewhere })],
  ['owner', ({ payload }) => Object.assign(payload.permit2Authorization, { from: elsewhere })],
  ['nonce', ({ payload }) => Object.assign(payload.permit2Authorization, { nonce: '7' })],
  ['end', ({ payload }) => Object.assign(payload.permit2Authorization, { deadline: '1' })],
  ['receiver', ({ payload }) => Object.assign(payload.permit2Authorization.witness, { to: elsewhere })],
  ['facilitator', ({ payload }) => Object.assign(payload.permit2Authorization.witness, { facilitator: elsewhere })],
])('T11: a maximum with a wrong %s is refused, and nothing of it is kept', async (_name, spoil) => {
  const { site, payer } = await common();
  const credential = decoded(await maximumOf(site, payer));
  spoil(credential);
  const before = await kept(site);
  const answer = await fetch(site.url(), withHeaders(chatInit(), { 'payment-signature': encoded(credential) }));
  expect([answer.status, await errorCode(answer)]).toEqual([402, 'payment_invalid']);
  expect(await kept(site)).toEqual(before);
});

test('T20: no voucher and no maximum, however spoilt, is ever a 500, and each pays one call at most', async () => {
  await using site = await startWalletGateway({}, onCredit);
  const { voucher } = await opened(site);
  const payer = await site.payer();
  for (const real of [voucher, await maximumOf(site, payer)]) {
    const text = Buffer.from(real, 'base64').toString();
    const spoilt = fc
      .tuple(fc.nat(text.length - 1), fc.constantFrom('"', '{', 'null,', '\\u0000', '-1', '0', 'f'))
      .map(([at, more]) => text.slice(0, at) + more + text.slice(at + 1));
    await sendAll(site, spoilt, 100);
    await (await fetch(site.url(), chatInit({}, { 'payment-signature': real }))).text();
  }
  await settleNow(site);
  await claimNow(site);
  const [channel] = await channelsOf(site);
  // The one that opened it, and one more.
  expect(channel?.calls).toBe(2n);
  const payments = await paymentsOf(site, payer);
  expect(payments.map(({ state }) => state)).toEqual(['settled']);
  const units = wholeUnits(channel?.charged ?? 0n) + wholeUnits(payments[0]?.charged ?? 0n);
  expect(await site.chain.usdcOf(site.treasury.address)).toBe(units);
});

test.each([['a voucher'], ['a maximum']])(
  'T16: %s under the same Idempotency-Key is given the same answer and headers, and pays once; another body is refused',
  async (kind) => {
    await using site = await startWalletGateway({}, onCredit);
    const { payer, voucher } = await opened(site);
    const payment = kind === 'a voucher' ? voucher : await maximumOf(site, payer);
    const ask = (body: object) =>
      fetch(site.url(), chatInit(body, { 'payment-signature': payment, 'idempotency-key': 'once' }));
    const [first, second] = [await ask({ stream: true }), await ask({ stream: true })];
    expect([first.status, second.status]).toEqual([200, 200]);
    expect(await second.text()).toBe(await first.text());
    for (const name of ['payment-response', 'x-faregate-call'])
      expect(second.headers.get(name)).toBe(first.headers.get(name));
    const other = await ask({ max_tokens: 17 });
    expect([other.status, await errorCode(other)]).toEqual([422, 'idempotency_mismatch']);
    await settleNow(site);
    const { sql } = site.gateway.database;
    expect(await sql`select from call`).toHaveLength(2);
  },
);

test('T19: what vouchers and maxima paid for, whole, streamed or refused, is kept by no cache', async () => {
  const { site } = await common();
  const payer = await site.payer();
  const pays = [channelClient(site.chain, payer.account).fetch, uptoFetch(site.chain, payer.account)];
  for (const pay of pays) {
    for (const init of [chatInit(), chatInit({ stream: true })]) {
      const answer = await pay(site.url(), init);
      await answer.text();
      expect(answer.status).toBe(200);
      expect(answer.headers.get('cache-control')).toContain('no-store, private');
    }
  }
  const { body } = chatInit({ provider: { allow: { countries: ['AQ'] } } });
  const refused = await fetch(site.url(), {
    ...chatInit({}, { 'payment-signature': await maximumOf(site, payer) }),
    body: body ?? null,
  });
  expect(refused.status).toBeGreaterThan(402);
  expect(refused.headers.get('cache-control')).toContain('no-store, private');
  await settleNow(site);
});

test('T9: a token that takes every call and moves nothing pays no call on credit: it is lost, and its payer served no more', async () => {
  await using site = await startWalletGateway({}, onCredit);
  const payer = await site.payer();
  const init = chatInit({ stream: true, max_tokens: 200, min_tokens: 200 });
  const answer = await uptoFetch(site.chain, payer.account)(site.url(), init);
  expect(answer.status).toBe(200);
  await site.chain.client.setCode({ address: site.chain.network.usdc.address, bytecode: '0x00' });
  await answer.text();
  await settleNow(site);
  expect((await paymentsOf(site, payer)).map(({ state }) => state)).toEqual(['lost']);
});

test('T25: fresh wallets without money get nothing on credit, nor a channel, nor an account', async () => {
  const { site } = await common();
  const before = await kept(site);
  const accounts = async () => (await site.gateway.database.sql`select from agent`).length;
  const had = await accounts();
  for (let fresh = 0; fresh < 5; fresh++) {
    const { account } = await site.payer(0n);
    for (const pay of [channelClient(site.chain, account).fetch, uptoFetch(site.chain, account)]) {
      const answer = await pay(site.url(), chatInit());
      expect([answer.status, await errorCode(answer)]).toEqual([402, 'payment_invalid']);
    }
  }
  expect(await kept(site)).toEqual(before);
  expect(await accounts()).toBe(had);
});
