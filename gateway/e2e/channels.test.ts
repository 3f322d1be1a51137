import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { violations } from '../../db/checks.ts';
import { testDatabase } from '../../db/testing.ts';
import { startLocalChain } from '../../payments/chain/local.ts';
import { startSimulator } from '../../workers/simulator/server.ts';
import { wholeUnits } from '../testing-channels.ts';
import { channelClient, chatInit } from '../testing-wallet-clients.ts';
import { openMarket, serve } from './served.ts';

test('T18: kill -9 between vouchers and their claim, and in a call: the next gateway claims what was charged, to the unit', async () => {
  await using database = await testDatabase();
  await using chain = await startLocalChain();
  const dataDir = await mkdtemp(join(tmpdir(), 'faregate-channel-crash-'));
  const simulator = await startSimulator();
  const treasury = await chain.wallet();
  const payer = await chain.wallet({ usdc: 5_000_000n, wei: 0n });
  const configured = {
    FAREGATE_NETWORK: 'base-sepolia',
    FAREGATE_RPC_URL: chain.url,
    FAREGATE_TREASURY_KEY: treasury.privateKey,
    FAREGATE_CLAIM_MINIMUM_NANOUSD: '1',
  };
  const client = channelClient(chain, payer.account);
  const chat = (url: string) => new URL('/v1/chat/completions', url);
  const first = await serve(dataDir, database.url, 1, configured);
  await openMarket(first, simulator.url);
  for (let call = 0; call < 3; call++) await (await client.fetch(chat(first.url), chatInit({ stream: true }))).text();
  const long = await client.fetch(chat(first.url), chatInit({ stream: true, max_tokens: 2_000, min_tokens: 2_000 }));
  expect(long.status).toBe(200);
  await long.body?.getReader().read();
  first.process.kill('SIGKILL');
  await first.ended;

  const second = await serve(dataDir, database.url, 1, configured);
  // The channel is free again once nobody stands for the call that was cut off; its client hears where it stands by itself.
  const served = async () => (await client.fetch(chat(second.url), chatInit())).status;
  await expect.poll(served, { timeout: 40_000, interval: 1_000 }).toBe(200);
  const charged = async () => {
    const [sum] = await database.sql<{ charged: bigint }[]>`
      select sum(l.charged_nanousd)::bigint as charged from call l join channel c on c.account_id = l.account_id`;
    return wholeUnits(sum?.charged ?? 0n);
  };
  await expect
    .poll(async () => (await chain.usdcOf(treasury.address)) === (await charged()), { timeout: 60_000, interval: 500 })
    .toBe(true);
  const [calls] = await database.sql<{ count: bigint }[]>`select count(*) from call`;
  expect(calls?.count).toBe(5n);
  second.process.kill('SIGTERM');
  expect(await second.ended).toBe(0);
  expect(await violations(database.sql)).toEqual([]);
  await simulator.close();
  await rm(dataDir, { recursive: true, force: true });
}, 150_000);
