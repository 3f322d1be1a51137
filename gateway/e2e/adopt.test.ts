import { spawn } from 'node:child_process';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { violations } from '../../db/checks.ts';
import { testDatabase } from '../../db/testing.ts';
import { startSimulator } from '../../workers/simulator/server.ts';
import { client } from '../demo-world.ts';
import { beginStream, FUNDS_NANOUSD, openMarket, serve } from './served.ts';

const cli = fileURLToPath(new URL('../cli.ts', import.meta.url));

async function adopt(
  directory: string,
  databaseUrl: string,
): Promise<{ code: number | null; out: string; err: string }> {
  const env = { ...process.env, DATABASE_URL: databaseUrl, FAREGATE_LOG: 'error' };
  const child = spawn(process.execPath, [cli, 'adopt', directory], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const [out, err] = ['', ''].map(() => [] as string[]);
  child.stdout.on('data', (chunk) => out?.push(String(chunk)));
  child.stderr.on('data', (chunk) => err?.push(String(chunk)));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, out: out?.join('') ?? '', err: err?.join('') ?? '' };
}

test('what a lost gateway left on its disk is settled by another, once, and never while it lives', async () => {
  await using database = await testDatabase();
  const home = await mkdtemp(join(tmpdir(), 'faregate-adopt-'));
  const simulator = await startSimulator({ slots: 64, decodeBaseMs: 20 });
  const lost = await serve(join(home, 'lost'), database.url);
  const other = await serve(join(home, 'other'), database.url);
  const key = await openMarket(lost, simulator.url);
  const streams = await Promise.all(Array.from({ length: 10 }, () => beginStream(lost.url, key, 2_000)));
  await new Promise((resolve) => setTimeout(resolve, 1_500));

  expect(await adopt(join(home, 'lost'), database.url)).toMatchObject({
    code: 1,
    err: expect.stringMatching(/already/),
  });
  lost.process.kill('SIGKILL');
  await Promise.all([lost.ended, ...streams.map(({ text }) => text)]);
  await cp(join(home, 'lost'), join(home, 'copy'), { recursive: true });

  const adopted = await adopt(join(home, 'copy'), database.url);
  expect(adopted.code).toBe(0);
  expect(JSON.parse(adopted.out)).toMatchObject({ event: 'adopted', directory: join(home, 'copy') });
  const agent = client(`${other.url}/v1`, key);
  const charges = await Promise.all(
    streams.map(async ({ id }) => BigInt(String((await agent('GET', `/calls/${id}`)).charged_nanousd))),
  );
  expect(charges.every((charged) => charged > 0n)).toBe(true);
  const left = FUNDS_NANOUSD - charges.reduce((sum, charged) => sum + charged, 0n);
  expect((await agent('GET', '/account')).balance_nanousd).toBe(String(left));
  expect((await adopt(join(home, 'lost'), database.url)).code).toBe(0);
  expect((await agent('GET', '/account')).balance_nanousd).toBe(String(left));

  other.process.kill('SIGTERM');
  expect(await other.ended).toBe(0);
  expect(await violations(database.sql)).toEqual([]);
  await simulator.close();
  await rm(home, { recursive: true, force: true });
}, 90_000);
