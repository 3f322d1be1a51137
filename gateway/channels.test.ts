import { expect, test } from 'vitest';
import { batchSettlementAbi } from '../payments/chain/abi.ts';
import type { LocalWallet } from '../payments/chain/local.ts';
import { BATCH_SETTLEMENT } from '../payments/chain/networks.ts';
import { channelsOf, chargedBy, claimNow, offeredBy, voucherHeader, wholeUnits } from './testing-channels.ts';
import { channelClient, chatInit } from './testing-wallet-clients.ts';
import {
  errorCode,
  shared,
  signedReceiptIn,
  startWalletGateway,
  topupInit,
  type WalletGateway,
  withHeaders,
} from './testing-wallets.ts';

const common = shared(
  () => startWalletGateway(),
  (site) => site,
);

/** A wallet whose first call opened a channel. */
async function opened(site: WalletGateway, lane = 0) {
  const payer = await site.payer();
  const client = channelClient(site.chain, payer.account, { lane });
  const answer = await client.fetch(site.url(), chatInit());
  expect(answer.status, await answer.clone().text()).toBe(200);
  return { payer, client, base: chargedBy(answer).cumulative };
}

async function channelOf(site: WalletGateway, { address }: LocalWallet) {
  const rows = await site.gateway.database.sql<{ id: string }[]>`
    select id from channel where payer like ${`%:${address.toLowerCase()}`}`;
  const ids = new Set(rows.map(({ id }) => id));
  return (await channelsOf(site)).filter(({ id }) => ids.has(id));
}

test('T18: a stock client opens a channel, pays twenty streams by vouchers, and what they cost is claimed and paid out', async () => {
  await using site = await startWalletGateway();
  const payer = await site.payer();
  let requests = 0;
  const counting: typeof fetch = (...args) => {
    requests++;
    return fetch(...args);
  };
  const client = channelClient(site.chain, payer.account, { inner: counting });
  for (let call = 0; call < 20; call++) {
    const answer = await client.fetch(site.url(), chatInit({ stream: true }));
    const text = await answer.text();
    expect(answer.status, text).toBe(200);
    expect(text).toContain('data: [DONE]');
  }
  // Each call is asked for and paid: none is refused on the way.
  expect(requests).toBe(40);
  const [channel, ...others] = await channelsOf(site);
  expect(others).toEqual([]);
  expect(channel?.calls).toBe(20n);
  expect(await site.chain.usdcOf(site.treasury.address)).toBe(0n);
  await claimNow(site);
  const paid = wholeUnits(channel?.charged ?? 0n);
  expect(paid).toBeGreaterThan(0n);
  expect(await site.chain.usdcOf(site.treasury.address)).toBe(paid);
  expect((await channelsOf(site))[0]).toMatchObject({ claimed: paid });
});

test('T18: what a payer is told to be charged for whole answers is what they cost, and for streams never more than one call ahead', async () => {
  const site = await common();
  const { payer, client } = await opened(site);
  for (const stream of [false, true, true, false, false, false]) {
    const answer = await client.fetch(site.url(), chatInit({ stream }));
    await answer.text();
    const most = BigInt(answer.headers.get('x-faregate-held-nanousd') ?? 0);
    const { cumulative } = chargedBy(answer);
    const [channel] = await channelOf(site, payer);
    const cost = wholeUnits(channel?.charged ?? 0n);
    expect(channel?.announced).toBe(cumulative);
    expect(cumulative).toBeGreaterThanOrEqual(cost);
    expect(cumulative).toBeLessThanOrEqual(cost + wholeUnits(most));
  }
  const alone = await opened(site);
  for (let call = 0; call < 3; call++) {
    const { cumulative } = chargedBy(await alone.client.fetch(site.url(), chatInit()));
    const [channel] = await channelOf(site, alone.payer);
    // Each call moves it on by a whole unit at least: so no voucher is good twice.
    expect(cumulative - wholeUnits(channel?.charged ?? 0n)).toBeLessThanOrEqual(BigInt(call + 1));
  }
});

test('answers paid by vouchers, the deposit first, carry a signed receipt, and a stream is told once what it is charged', async () => {
  const site = await common();
  const payer = await site.payer();
  const client = channelClient(site.chain, payer.account);
  for (const [stream, transaction] of [
    [false, expect.stringMatching(/^0x[0-9a-f]{64}$/)],
    [false, ''],
    [true, ''],
  ]) {
    const answer = await client.fetch(site.url(), chatInit({ stream }));
    expect(await answer.text()).not.toContain(': payment-response');
    expect(await signedReceiptIn(site, answer)).toMatchObject({
      network: 'eip155:84532',
      payer: payer.address.toLowerCase(),
      resourceUrl: 'https://gate.example.com/v1/chat/completions',
      transaction,
    });
  }
});

test('T18: a channel pays one call at a time: a second voucher is told channel_busy, and other lanes of the wallet go on', async () => {
  await using site = await startWalletGateway({ simulators: [{ rttMs: 200 }] });
  const { payer, base } = await opened(site);
  const slow = chatInit({ max_tokens: 64 });
  const [first, second] = await Promise.all(
    [slow, slow].map(async (init) => {
      const header = await voucherHeader(site, init, { payer: payer.account, base });
      return fetch(site.url(), withHeaders(init, header));
    }),
  );
  const answers = [first, second].filter((answer) => answer !== undefined);
  expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 402]);
  const refused = answers.find(({ status }) => status === 402) as Response;
  expect(offeredBy(refused).error).toBe('invalid_batch_settlement_evm_channel_busy');
  expect(await errorCode(refused)).toBe('channel_busy');
  const lanes = Array.from({ length: 5 }, (_, lane) => channelClient(site.chain, payer.account, { lane: lane + 1 }));
  const all = await Promise.all(lanes.map((lane) => lane.fetch(site.url(), chatInit({ stream: true }))));
  for (const answer of all) expect(await answer.text()).toContain('[DONE]');
  expect(await channelsOf(site)).toHaveLength(6);
});

test('T1: of 50 copies of one voucher at once one runs the model, and none does so afterwards', async () => {
  const site = await common();
  const { payer, base } = await opened(site);
  const init = chatInit();
  const paid = withHeaders(init, await voucherHeader(site, init, { payer: payer.account, base }));
  const answers = await Promise.all(Array.from({ length: 50 }, () => fetch(site.url(), paid)));
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
  expect(answers.filter(({ status }) => status === 402)).toHaveLength(49);
  const again = await fetch(site.url(), paid);
  expect([again.status, offeredBy(again).error]).toEqual([
    402,
    'invalid_batch_settlement_evm_cumulative_amount_mismatch',
  ]);
  expect((await channelOf(site, payer))[0]?.calls).toBe(2n);
});

test('T18: vouchers that go back, leave a gap, exceed the deposit or are signed by another pay nothing', async () => {
  const site = await common();
  const { payer, base } = await opened(site);
  const stranger = await site.payer();
  const before = await channelOf(site, payer);
  const wrong = [
    { base: base - 1n, error: 'cumulative_amount_mismatch' },
    { base: base + 1n, error: 'cumulative_amount_mismatch' },
    { base, amount: 10n ** 12n, error: 'cumulative_amount_mismatch' },
    { base, signer: stranger.account, error: 'voucher_signature' },
    { base, lane: 77, error: 'channel_not_found' },
  ];
  for (const { error, ...voucher } of wrong) {
    const init = chatInit();
    const header = await voucherHeader(site, init, { payer: payer.account, ...voucher });
    const answer = await fetch(site.url(), withHeaders(init, header));
    expect([answer.status, offeredBy(answer).error]).toEqual([402, `invalid_batch_settlement_evm_${error}`]);
    expect(await errorCode(answer)).toBe('payment_invalid');
  }
  expect(await channelOf(site, payer)).toEqual(before);
});

test('T18: state is committed only after success: the voucher of a call that no worker served pays another', async () => {
  const site = await common();
  const { payer, base } = await opened(site);
  const init = chatInit();
  const paid = withHeaders(init, await voucherHeader(site, init, { payer: payer.account, base }));
  const { body } = chatInit({ provider: { allow: { countries: ['AQ'] } } });
  const failed = await fetch(site.url(), { ...paid, body: body ?? null });
  expect(failed.status).toBeGreaterThan(402);
  expect(failed.headers.has('payment-response')).toBe(false);
  const served = await fetch(site.url(), paid);
  expect(served.status, await served.clone().text()).toBe(200);
  expect(chargedBy(served).cumulative - chargedBy(served).charged).toBe(base);
});

test('T18: a client that lost an answer is told where it stands, proves it to itself, and pays on', async () => {
  const site = await common();
  const payer = await site.payer();
  let answers = 0;
  const client = channelClient(site.chain, payer.account, {
    inner: async (...args) => {
      const answer = await fetch(...args);
      const headers = new Headers(answer.headers);
      if (answer.status === 200 && ++answers === 3) headers.delete('payment-response');
      return new Response(answer.body, { status: answer.status, headers });
    },
  });
  for (let call = 0; call < 5; call++) {
    const answer = await client.fetch(site.url(), chatInit({ stream: true }));
    expect(answer.status, await answer.text()).toBe(200);
  }
  expect((await channelOf(site, payer))[0]?.calls).toBe(5n);
});

test('a refund by GET gives a wallet back all that its calls did not cost, and its channel can be filled again', async () => {
  await using site = await startWalletGateway();
  const payer = await site.payer(5_000_000n);
  const client = channelClient(site.chain, payer.account);
  for (let call = 0; call < 3; call++) await (await client.fetch(site.url(), chatInit({ stream: true }))).text();
  const [channel] = await channelsOf(site);
  const cost = wholeUnits(channel?.charged ?? 0n);
  const half = await client.scheme.refund(site.url().href, { amount: '1000' });
  expect(half).toMatchObject({ success: true, amount: '1000' });
  const whole = await client.scheme.refund(site.url().href);
  expect(whole.success).toBe(true);
  expect(await site.chain.usdcOf(payer.address)).toBe(5_000_000n - cost);
  expect(await site.chain.usdcOf(BATCH_SETTLEMENT)).toBe(cost);
  await expect(client.scheme.refund(site.url().href)).rejects.toThrow('no remaining balance');
  const again = await client.fetch(site.url(), chatInit());
  expect(again.status, await again.clone().text()).toBe(200);
  expect((await channelsOf(site))[0]?.calls).toBe(4n);
});

test('T18: a withdrawal that a payer requests on the chain is answered by a claim at once, and the channel pays no more', async () => {
  await using site = await startWalletGateway(
    {},
    { channels: { leastDeposit: 10_000_000n, claimMinimum: 10n ** 15n } },
  );
  const { payer, client } = await opened(site);
  await claimNow(site);
  expect(await channelsOf(site)).toMatchObject([{ claimed: 0n }]);
  const answer = await client.fetch(site.url(), chatInit());
  const config = client.scheme.buildChannelConfig(
    offeredBy(await fetch(site.url(), chatInit())).accepts.find(({ scheme }) => scheme === 'batch-settlement') as never,
  );
  expect(answer.status).toBe(200);
  await site.chain.client.setBalance({ address: payer.address, value: 10n ** 18n });
  await site.chain.client.writeContract({
    account: payer.account,
    address: BATCH_SETTLEMENT,
    abi: batchSettlementAbi,
    functionName: 'initiateWithdraw',
    args: [config, 1_000n],
  });
  await claimNow(site);
  const [channel] = await channelsOf(site);
  expect(channel?.claimed).toBe(wholeUnits(channel?.charged ?? 0n));
  expect(await site.chain.usdcOf(site.treasury.address)).toBe(channel?.claimed);
  const refused = await client.fetch(site.url(), chatInit());
  expect([refused.status, await errorCode(refused)]).toEqual([402, 'payment_invalid']);
});

test('T24: with all rails on the 402 of a call stays within 4 KB, and channels are offered for calls without a key alone', async () => {
  const site = await common();
  const answer = await fetch(site.url(), chatInit());
  expect(answer.headers.get('payment-required')?.length).toBeLessThan(4_096);
  const all = [...answer.headers].reduce((bytes, [name, value]) => bytes + name.length + value.length + 4, 0);
  expect(all).toBeLessThan(8_192);
  expect(offeredBy(answer).accepts.map(({ scheme }) => scheme)).toContain('batch-settlement');
  const topup = await fetch(site.url('/v1/topups'), topupInit(20_000_000n));
  expect(offeredBy(topup).accepts.map(({ scheme }) => scheme)).toEqual(['exact']);
});

test('a voucher beside a key is refused: a channel has an account of its own', async () => {
  const site = await common();
  const { payer, base } = await opened(site);
  const header = await voucherHeader(site, chatInit(), { payer: payer.account, base });
  const authorization = `Bearer ${site.gateway.apiKey}`;
  const answer = await fetch(site.url(), withHeaders(chatInit(), { ...header, authorization }));
  expect([answer.status, await errorCode(answer)]).toEqual([402, 'payment_invalid']);
});
