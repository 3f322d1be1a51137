import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { violations } from '../../db/checks.ts';
import { testDatabase } from '../../db/testing.ts';
import { startLocalChain } from '../../payments/chain/local.ts';
import { BATCH_SETTLEMENT } from '../../payments/chain/networks.ts';
import { startSimulator } from '../../workers/simulator/server.ts';
import { channelsOf, claimNow, wholeUnits } from '../testing-channels.ts';
import { type ChannelClient, channelClient, chatInit, uptoFetch } from '../testing-wallet-clients.ts';
import { startWalletGateway } from '../testing-wallets.ts';
import { openMarket, serve } from './served.ts';

const LONG = { stream: true, max_tokens: 2_000, min_tokens: 2_000 };

/** All that two gateways, the second after the first was killed, need. */
async function startSite() {
  const database = await testDatabase();
  const chain = await startLocalChain();
  const dataDir = await mkdtemp(join(tmpdir(), 'faregate-use-crash-'));
  const simulator = await startSimulator();
  const treasury = await chain.wallet();
  const configured = {
    FAREGATE_NETWORK: 'base-sepolia',
    FAREGATE_RPC_URL: chain.url,
    FAREGATE_TREASURY_KEY: treasury.privateKey,
    FAREGATE_CLAIM_MINIMUM_NANOUSD: '1',
    FAREGATE_UPTO_CAP_NANOUSD: '50000000',
  };
  return {
    chain,
    database,
    simulator,
    payer: await chain.wallet({ usdc: 5_000_000n, wei: 0n }),
    start: () => serve(dataDir, database.url, 1, configured),
    treasuryUnits: () => chain.usdcOf(treasury.address),
    /** What calls were charged, each rounded up to whole units or all of them at once, and how many there were. */
    charged: async (each: boolean) => {
      const rows = await database.sql<{ charged: bigint }[]>`select charged_nanousd as charged from call`;
      const sum = rows.reduce((units, { charged }) => units + (each ? wholeUnits(charged) * 1_000n : charged), 0n);
      return { units: wholeUnits(sum), calls: rows.length };
    },
    [Symbol.asyncDispose]: async () => {
      expect(await violations(database.sql)).toEqual([]);
      await simulator.close();
      await chain.stop();
      await database[Symbol.asyncDispose]();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

const chat = (url: string) => new URL('/v1/chat/completions', url);

test('T18: kill -9 between vouchers and their claim, and in a call: the next gateway claims what was charged, to the unit', async () => {
  await using site = await startSite();
  const client = channelClient(site.chain, site.payer.account);
  const first = await site.start();
  await openMarket(first, site.simulator.url);
  for (let call = 0; call < 3; call++) await (await client.fetch(chat(first.url), chatInit({ stream: true }))).text();
  const long = await client.fetch(chat(first.url), chatInit(LONG));
  expect(long.status).toBe(200);
  await long.body?.getReader().read();
  first.process.kill('SIGKILL');
  await first.ended;

  const second = await site.start();
  // The channel is free again once nobody stands for the call that was cut off; its client hears where it stands by itself.
  const served = async () => (await client.fetch(chat(second.url), chatInit())).status;
  await expect.poll(served, { timeout: 40_000, interval: 1_000 }).toBe(200);
  const claimed = async () => (await site.treasuryUnits()) === (await site.charged(false)).units;
  await expect.poll(claimed, { timeout: 60_000, interval: 500 }).toBe(true);
  expect((await site.charged(false)).calls).toBe(5);
  second.process.kill('SIGTERM');
  expect(await second.ended).toBe(0);
}, 150_000);

test('T6: kill -9 in a call on credit: the next gateway moves what it was charged, and the maximum is good no more', async () => {
  await using site = await startSite();
  const pay = uptoFetch(site.chain, site.payer.account);
  const first = await site.start();
  await openMarket(first, site.simulator.url);
  const long = await pay(chat(first.url), chatInit(LONG));
  expect(long.status).toBe(200);
  const reader = long.body?.getReader();
  // Far enough that its charge is on disk.
  for (let text = ''; text.split('data:').length < 600; )
    text += new TextDecoder().decode((await reader?.read())?.value);
  first.process.kill('SIGKILL');
  await first.ended;

  const second = await site.start();
  await expect.poll(site.treasuryUnits, { timeout: 60_000, interval: 500 }).toBeGreaterThan(0n);
  const charged = await site.charged(true);
  expect(charged.calls).toBe(1);
  expect(await site.treasuryUnits()).toBe(charged.units);
  second.process.kill('SIGTERM');
  expect(await second.ended).toBe(0);
}, 150_000);

test('of ten wallets with two channels each and five streams in each, every unit that left them is what their calls cost', async () => {
  await using site = await startWalletGateway();
  const payers = await Promise.all(Array.from({ length: 10 }, () => site.payer(5_000_000n)));
  const lanes = payers.flatMap(({ account }) => [0, 1].map((lane) => channelClient(site.chain, account, { lane })));
  const callAll = async ({ fetch: pay }: ChannelClient) => {
    for (let call = 0; call < 5; call++) {
      const answer = await pay(site.url(), chatInit({ stream: true }));
      const text = await answer.text();
      expect(text, text).toContain('[DONE]');
    }
  };
  await Promise.all(lanes.map(callAll));
  await claimNow(site);
  const channels = await channelsOf(site);
  expect(channels).toHaveLength(20);
  expect(channels.reduce((sum, { calls }) => sum + calls, 0n)).toBe(100n);
  const cost = channels.reduce((sum, { charged }) => sum + wholeUnits(charged), 0n);
  expect(await site.chain.usdcOf(site.treasury.address)).toBe(cost);
  for (const { scheme } of lanes) expect((await scheme.refund(site.url().href)).success).toBe(true);
  const left = await Promise.all(payers.map(({ address }) => site.chain.usdcOf(address)));
  expect(left.reduce((sum, units) => sum + units, 0n)).toBe(50_000_000n - cost);
  expect(await site.chain.usdcOf(BATCH_SETTLEMENT)).toBe(0n);
}, 60_000);

test('chaos: with blocks of two seconds channels and credit pay for streams, and all that was charged arrives', async () => {
  await using site = await startWalletGateway({}, { upto: { cap: 50_000_000n } });
  await site.chain.client.setAutomine(false);
  await site.chain.client.setIntervalMining({ interval: 2 });
  const [inChannel, onCredit] = [await site.payer(5_000_000n), await site.payer(5_000_000n)];
  const channel = channelClient(site.chain, inChannel.account);
  const credit = uptoFetch(site.chain, onCredit.account);
  const call = async (pay: typeof fetch) => {
    const answer = await pay(site.url(), chatInit({ stream: true }));
    const text = await answer.text();
    expect(text, text).toContain('[DONE]');
  };
  await Promise.all([call(credit), call(channel.fetch)]);
  for (let more = 0; more < 3; more++) await call(channel.fetch);
  const charged = async () => {
    const [{ charged: vouchers = 0n } = {}] = await channelsOf(site);
    const [owed] = await site.gateway.database.sql<{ units: bigint }[]>`
      select coalesce(sum(charged_units), 0)::bigint as units from upto_payment`;
    return wholeUnits(vouchers) + (owed?.units ?? 0n);
  };
  const arrived = async () => {
    await claimNow(site);
    return (await site.chain.usdcOf(site.treasury.address)) === (await charged());
  };
  await expect.poll(arrived, { timeout: 30_000, interval: 500 }).toBe(true);
}, 60_000);
