import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { readConfig } from './config.ts';
import { startTestGateway } from './testing.ts';

const treasury = `0x${'11'.repeat(32)}`;

test('wallets cannot pay unless it is configured, and then a caller without a key is told 401 as ever', async () => {
  await using gateway = await startTestGateway();
  const answer = await fetch(new URL('/v1/chat/completions', gateway.url), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
  });
  expect(answer.status).toBe(401);
  expect((await fetch(new URL('/v1/sign-in', gateway.url))).status).toBe(404);
});

test('a treasury is enough: payments go to it, and it pays the gas', () => {
  const { payments } = readConfig({
    FAREGATE_NETWORK: 'base',
    FAREGATE_RPC_URL: 'https://one.example.com, https://two.example.com',
    FAREGATE_TREASURY_KEY: treasury,
  });
  expect(payments).toMatchObject({
    network: { id: 'eip155:8453' },
    rpcUrls: ['https://one.example.com', 'https://two.example.com'],
    payTo: null,
    gasKeys: [treasury],
    facilitator: null,
  });
});

test('with a facilitator an address is enough: no key of ours is needed', () => {
  const { payments } = readConfig({
    FAREGATE_NETWORK: 'base-sepolia',
    FAREGATE_RPC_URL: 'http://127.0.0.1:8545',
    FAREGATE_PAY_TO: `0x${'22'.repeat(20)}`,
    FAREGATE_FACILITATOR_URL: 'https://facilitator.example.com',
  });
  expect(payments).toMatchObject({ treasuryKey: null, gasKeys: [], facilitator: { key: null } });
});

test('channels and `upto` asked for beside a hosted facilitator, which settles neither, are refused at the start', () => {
  const hosted = {
    FAREGATE_NETWORK: 'base',
    FAREGATE_RPC_URL: 'https://one.example.com',
    FAREGATE_TREASURY_KEY: treasury,
    FAREGATE_FACILITATOR_URL: 'https://facilitator.example.com',
  };
  const asked = () => readConfig({ ...hosted, FAREGATE_CHANNELS: '1', FAREGATE_UPTO_CAP_NANOUSD: '1000000' });
  for (const name of ['FAREGATE_CHANNELS', 'FAREGATE_UPTO_CAP_NANOUSD']) expect(asked).toThrow(name);
  expect(readConfig({ ...hosted, FAREGATE_CHANNELS: '0' }).payments?.facilitator).not.toBeNull();
});

test('what is half configured is refused at the start, with all that is missing', () => {
  const half = () => readConfig({ FAREGATE_PAY_TO: `0x${'22'.repeat(20)}`, FAREGATE_GAS_KEYS: '0x12' });
  expect(half).toThrow(/FAREGATE_GAS_KEYS/);
  const missing = () => readConfig({ FAREGATE_PAY_TO: `0x${'22'.repeat(20)}` });
  for (const name of ['FAREGATE_NETWORK', 'FAREGATE_RPC_URL', 'FAREGATE_GAS_KEYS']) expect(missing).toThrow(name);
});

test('a gateway that takes no wallets loads nothing of what they need', async () => {
  const found = new Set<string>();
  const walk = async (file: URL): Promise<void> => {
    if (found.has(file.href)) return;
    found.add(file.href);
    const source = await readFile(file, 'utf8');
    for (const [, name = ''] of source.matchAll(/^(?:import|export)\s+(?!type\b)[^;]*?from\s+'([^']+)'/gms)) {
      if (name.startsWith('.')) await walk(new URL(name, file));
      else found.add(name);
    }
  };
  await walk(new URL('node.ts', import.meta.url));
  expect(found.size).toBeGreaterThan(50);
  const heavy = [...found].filter((name) => /^(viem|mppx|ox|@x402)\b/.test(name) || name.includes('methods/open.ts'));
  expect(heavy).toEqual([]);
});
