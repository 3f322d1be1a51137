import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { violations } from '../../db/checks.ts';
import { testDatabase } from '../../db/testing.ts';
import { startSimulator } from '../../workers/simulator/server.ts';
import { client } from '../demo-world.ts';
import { beginStream, FUNDS_NANOUSD, openMarket, serve } from './served.ts';

test('kill -9 during 50 streams: after the restart the books balance, nothing is held, and each delivered call is charged once', async () => {
  await using database = await testDatabase();
  const dataDir = await mkdtemp(join(tmpdir(), 'faregate-crash-'));
  const simulator = await startSimulator({ slots: 64, decodeBaseMs: 20 });
  const first = await serve(dataDir, database.url);
  const key = await openMarket(first, simulator.url);

  const streams = await Promise.all(Array.from({ length: 50 }, () => beginStream(first.url, key, 2_000)));
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  first.process.kill('SIGKILL');
  await first.ended;
  const texts = await Promise.all(streams.map(({ text }) => text));
  expect(texts.every((text) => text.includes('"content":'))).toBe(true);

  const second = await serve(dataDir, database.url);
  const agent = client(`${second.url}/v1`, key);
  const account = await agent('GET', '/account');
  expect(account.held_nanousd).toBe('0');
  let charged = 0n;
  for (const { id } of streams) {
    const call = await agent('GET', `/calls/${id}`);
    expect(call.status).toBe('closed');
    expect(BigInt(String(call.charged_nanousd))).toBeGreaterThan(0n);
    charged += BigInt(String(call.charged_nanousd));
  }
  expect(BigInt(String(account.balance_nanousd))).toBe(FUNDS_NANOUSD - charged);
  second.process.kill('SIGTERM');
  expect(await second.ended).toBe(0);
  expect(await violations(database.sql)).toEqual([]);
  await simulator.close();
  await rm(dataDir, { recursive: true, force: true });
}, 90_000);
