import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { violations } from '../../db/checks.ts';
import { testDatabase } from '../../db/testing.ts';
import { startLocalChain } from '../../payments/chain/local.ts';
import { startSimulator } from '../../workers/simulator/server.ts';
import { client } from '../demo-world.ts';
import { chatInit, paymentFor } from '../testing-wallet-clients.ts';
import { startWalletGateway } from '../testing-wallets.ts';
import { openMarket, serve } from './served.ts';
import { callFromWallets } from './wallet-calls.ts';

test('of twelve wallets with stock clients and five streams each, every unit that left them is a balance, a charge or home again', async () => {
  await using site = await startWalletGateway();
  const { gateway, chain } = site;
  const run = { url: gateway.url, chain, wallets: 12, callsEach: 5, units: 50_000_000n, model: 'tiny' };
  const sums = await callFromWallets(run);
  expect(sums.calls).toBe(60);
  expect(sums.payments).toBeGreaterThanOrEqual(30);
  expect(sums.withdrawn).toBeGreaterThan(0n);
  expect(sums.paid - sums.withdrawn).toBe(await site.treasuryNanousd());
  expect(sums.balances + sums.charged + sums.withdrawn).toBe(sums.paid);
});

test('T8: kill -9 after a payment was sent: the next gateway credits it once and serves its call once', async () => {
  await using database = await testDatabase();
  await using chain = await startLocalChain();
  const dataDir = await mkdtemp(join(tmpdir(), 'faregate-wallet-crash-'));
  const simulator = await startSimulator();
  const treasury = await chain.wallet();
  const payer = await chain.wallet({ usdc: 5_000_000n, wei: 0n });
  const configured = {
    FAREGATE_NETWORK: 'base-sepolia',
    FAREGATE_RPC_URL: chain.url,
    FAREGATE_TREASURY_KEY: treasury.privateKey,
  };
  const first = await serve(dataDir, database.url, 1, configured);
  await openMarket(first, simulator.url);
  const chat = (url: string) => new URL('/v1/chat/completions', url);
  const paid = chatInit({}, await paymentFor(payer.account, chat(first.url), chatInit()));
  await chain.client.setAutomine(false);
  const lost = fetch(chat(first.url), paid).catch(() => null);
  await expect.poll(async () => (await chain.client.getTxpoolStatus()).pending, { timeout: 10_000 }).toBe(1);
  first.process.kill('SIGKILL');
  await first.ended;
  expect(await lost).toBeNull();
  await chain.client.mine({ blocks: 1 });

  const second = await serve(dataDir, database.url, 1, configured);
  await expect
    .poll(async () => (await fetch(chat(second.url), chatInit())).status, { timeout: 20_000, interval: 100 })
    .toBe(402);
  const answers = await Promise.all(Array.from({ length: 10 }, () => fetch(chat(second.url), paid)));
  expect(answers.map(({ status }) => status).filter((status) => status === 200)).toHaveLength(1);
  const key = answers.map(({ headers }) => headers.get('x-faregate-key')).find((shown) => shown !== null);
  const agent = client(`${second.url}/v1`, key ?? '');
  const { balance_nanousd } = await agent('GET', '/account');
  const { data } = (await agent('GET', '/calls')) as { data: { charged_nanousd: string }[] };
  expect(data).toHaveLength(1);
  const sum = BigInt(String(balance_nanousd)) + BigInt(data[0]?.charged_nanousd ?? 0);
  expect(sum).toBe((await chain.usdcOf(treasury.address)) * 1_000n);
  expect(sum).toBeGreaterThan(0n);
  second.process.kill('SIGTERM');
  expect(await second.ended).toBe(0);
  expect(await violations(database.sql)).toEqual([]);
  await simulator.close();
  await rm(dataDir, { recursive: true, force: true });
}, 90_000);
