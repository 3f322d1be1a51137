import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type TestDatabase, testDatabase } from '../../db/testing.ts';
import { type Simulator, startSimulator } from '../../workers/simulator/server.ts';
import { beginStream, openMarket, type Served, serve } from './served.ts';

let database: TestDatabase;
let dataDir: string;
let simulator: Simulator;
let served: Served;
let key: string;

beforeEach(async () => {
  database = await testDatabase();
  dataDir = await mkdtemp(join(tmpdir(), 'faregate-drain-'));
  simulator = await startSimulator({ decodeBaseMs: 20 });
  served = await serve(dataDir, database.url);
  key = await openMarket(served, simulator.url);
});

afterEach(async () => {
  served.process.kill('SIGKILL');
  await served.ended;
  await simulator.close();
  await rm(dataDir, { recursive: true, force: true });
  await database[Symbol.asyncDispose]();
});

/** What the gateway left behind: the call as settled, and what is still leased. */
async function settled(id: string | null): Promise<{ outcome: string; charged: bigint; leased: bigint }> {
  const [call] = await database.sql`select outcome, charged_nanousd::bigint as charged from call where id = ${id}`;
  const [escrow] =
    await database.sql`select coalesce(sum(balance), 0)::bigint as leased from account where kind = 'escrow'`;
  return { outcome: String(call?.outcome), charged: BigInt(call?.charged ?? -1), leased: BigInt(escrow?.leased ?? -1) };
}

/** One whole call over the agent's connection. */
async function ask(agent: Agent) {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  const body = JSON.stringify({ model: 'tiny', messages: [{ role: 'user', content: 'Hello' }], max_tokens: 2 });
  const asked = request(`${served.url}/v1/chat/completions`, { method: 'POST', agent, headers }).end(body);
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  for await (const _ of answer);
  const { connection, 'x-faregate-call': id } = answer.headers;
  return { status: answer.statusCode, connection, reused: asked.reusedSocket, id: String(id) };
}

test('SIGTERM: nobody new comes in, a running stream ends whole, all is settled and given back, exit 0', async () => {
  const stream = await beginStream(served.url, key, 60);
  served.process.kill('SIGTERM');
  await expect
    .poll(() =>
      fetch(`${served.url}/healthz`).then(
        () => 'open',
        () => 'closed',
      ),
    )
    .toBe('closed');
  const text = await stream.text;
  expect(text).toContain('"finish_reason":"length"');
  expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
  expect(await served.ended).toBe(0);
  expect(await settled(stream.id)).toMatchObject({ outcome: 'complete', leased: 0n });
});

test('SIGTERM: who calls over a connection that it kept is served, and told that it was the last call there', async () => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  expect(await ask(agent)).toMatchObject({ status: 200, connection: 'keep-alive', reused: false });
  served.process.kill('SIGTERM');
  const refused = () =>
    fetch(`${served.url}/healthz`).then(
      () => false,
      () => true,
    );
  await expect.poll(refused, { interval: 10 }).toBe(true);
  const last = await ask(agent);
  expect(last).toMatchObject({ status: 200, connection: 'close', reused: true });
  expect(await served.ended).toBe(0);
  expect(await settled(last.id)).toMatchObject({ outcome: 'complete', leased: 0n });
});

test('a second SIGTERM hurries: the stream ends with a reason and no finish, what it delivered is charged, exit 0', async () => {
  const stream = await beginStream(served.url, key, 4_000);
  served.process.kill('SIGTERM');
  await expect
    .poll(() =>
      fetch(`${served.url}/healthz`).then(
        () => 'open',
        () => 'closed',
      ),
    )
    .toBe('closed');
  served.process.kill('SIGTERM');
  const text = await stream.text;
  expect(text).toContain('"code":"overloaded"');
  expect(text).not.toContain('"finish_reason":"');
  expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
  expect(await served.ended).toBe(0);
  const { charged, leased } = await settled(stream.id);
  expect(charged).toBeGreaterThan(0n);
  expect(leased).toBe(0n);
});

test('a second gateway on the same data directory is refused with a reason, and the first goes on', async () => {
  await expect(serve(dataDir, database.url)).rejects.toThrow(/ended with 1 before it was ready: .*journal/s);
  const stream = await beginStream(served.url, key, 8);
  expect(await stream.text).toContain('"finish_reason":"length"');
  served.process.kill('SIGTERM');
  expect(await served.ended).toBe(0);
});
