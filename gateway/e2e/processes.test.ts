import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { violations } from '../../db/checks.ts';
import { type TestDatabase, testDatabase } from '../../db/testing.ts';
import { type Simulator, startSimulator } from '../../workers/simulator/server.ts';
import { client } from '../demo-world.ts';
import { openMarket, type Served, serve } from './served.ts';

const PROCESSES = 2;

// Whole gateways are killed and started here, several times in each test.
vi.setConfig({ testTimeout: 90_000, hookTimeout: 60_000 });

let database: TestDatabase;
let dataDir: string;
let simulator: Simulator;
let served: Served;
let key: string;

beforeEach(async () => {
  database = await testDatabase();
  dataDir = await mkdtemp(join(tmpdir(), 'faregate-processes-'));
  simulator = await startSimulator({ decodeBaseMs: 5 });
  served = await serve(dataDir, database.url, PROCESSES);
  key = await openMarket(served, simulator.url);
});

afterEach(async () => {
  served.process.kill('SIGKILL');
  await served.ended;
  await simulator.close();
  await rm(dataDir, { recursive: true, force: true });
  await database[Symbol.asyncDispose]();
});

/** The process that now has one of the journals: its lock names it. */
async function pidOf(number: number): Promise<number> {
  return parseInt(await readFile(join(dataDir, `journal-${number}`, 'lock'), 'utf8'), 10);
}

interface Answer {
  /** Null where the connection broke with its process. */
  readonly id: string | null;
  readonly charged: string | null;
  readonly status: number | null;
}

async function call(): Promise<Answer> {
  try {
    const response = await fetch(`${served.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'tiny', messages: [{ role: 'user', content: 'Hello' }], max_tokens: 20 }),
    });
    await response.text();
    const { headers, status } = response;
    return { id: headers.get('x-faregate-call'), charged: headers.get('x-faregate-charged-nanousd'), status };
  } catch {
    return { id: null, charged: null, status: null };
  }
}

/** Several callers, each asking again and again until told to stop. */
function load(callers: number): { stop(): Promise<Answer[]> } {
  let going = true;
  const answers: Answer[] = [];
  const lane = async () => {
    while (going) answers.push(await call());
  };
  const lanes = Array.from({ length: callers }, lane);
  return {
    stop: async () => {
      going = false;
      await Promise.all(lanes);
      return answers;
    },
  };
}

async function stopGateway(): Promise<void> {
  served.process.kill('SIGTERM');
  expect(await served.ended).toBe(0);
}

/** Every answered call is settled once, at the charge that its caller was told, and nothing stays leased. */
async function expectSettled(answers: readonly Answer[]): Promise<void> {
  const rows = await database.sql`select id, charged_nanousd::text as charged from call`;
  const charges = new Map(rows.map(({ id, charged }) => [String(id), String(charged)]));
  const answered = answers.filter(({ status }) => status === 200);
  expect(answered.length).toBeGreaterThan(0);
  for (const { id, charged } of answered) expect(charges.get(String(id))).toBe(charged);
  const [escrow] = await database.sql`select sum(balance)::text as leased from account where kind = 'escrow'`;
  expect(escrow?.leased).toBe('0');
}

test('one of two processes is killed under load: the other answers, it comes back, no call is lost or charged twice', async () => {
  const victim = await pidOf(1);
  const traffic = load(16);
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  process.kill(victim, 'SIGKILL');
  await expect.poll(() => pidOf(1), { timeout: 20_000 }).not.toBe(victim);
  await expect.poll(async () => (await call()).status).toBe(200);
  const answers = await traffic.stop();
  // Only connections of the killed process broke, at most one call on each.
  expect(answers.filter(({ status }) => status !== 200).length).toBeLessThanOrEqual(16);
  await stopGateway();
  await expectSettled(answers);
});

test('SIGHUP replaces one process after the other under load: every call is answered or told to ask again', async () => {
  const before = [await pidOf(1), await pidOf(2)];
  const traffic = load(8);
  served.process.kill('SIGHUP');
  await expect.poll(() => pidOf(1).catch(() => before[0]), { timeout: 20_000 }).not.toBe(before[0]);
  await expect.poll(() => pidOf(2).catch(() => before[1]), { timeout: 20_000 }).not.toBe(before[1]);
  await expect.poll(async () => (await call()).status).toBe(200);
  const answers = await traffic.stop();
  expect(answers.filter(({ status }) => status !== null && status !== 200 && status !== 503)).toEqual([]);
  await stopGateway();
  await expectSettled(answers);
});

test('fewer processes than before settle what the others left', async () => {
  const answers = [];
  for (let calls = 0; calls < 4; calls++) answers.push(await call());
  const pids = [await pidOf(1), await pidOf(2)];
  served.process.kill('SIGKILL');
  await served.ended;
  for (const pid of pids) await expect.poll(() => isAlive(pid), { timeout: 10_000 }).toBe(false);
  served = await serve(dataDir, database.url);
  const admin = client(`${served.url}/admin/v1`, served.adminKey);
  expect(await admin('GET', '/check')).toMatchObject({ balanced: true });
  await stopGateway();
  await expectSettled(answers);
});

/** A named stream; each over a connection of its own, so that any of the processes may get it. */
async function named(name: string, words: string, signal: AbortSignal | null = null) {
  const response = await fetch(`${served.url}/v1/chat/completions`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${key}`,
      'content-type': 'application/json',
      'idempotency-key': name,
      connection: 'close',
    },
    body: JSON.stringify({
      model: 'tiny',
      messages: [{ role: 'user', content: words }],
      max_tokens: 200,
      stream: true,
    }),
    signal,
  });
  return { status: response.status, call: response.headers.get('x-faregate-call'), text: () => response.text() };
}

test('a named request is one call, whichever of two processes is asked, and after the one that served it was killed none runs it again', async () => {
  const sent = Array.from({ length: 16 }, () => named('one', 'Hello'));
  const answers = await Promise.all(sent.map(async (one) => ({ ...(await one), text: await (await one).text() })));
  const ids = new Set(answers.filter(({ status }) => status === 200).map(({ call }) => call));
  expect(ids.size).toBe(1);
  expect(answers.filter(({ status }) => status !== 200 && status !== 409)).toEqual([]);
  expect((await named('one', 'Another')).status).toBe(422);
  const [id = ''] = [...ids].map(String);
  const number = (await journalHas(1, id)) ? 1 : 2;
  expect(await journalHas(number, id)).toBe(true);
  const victim = await pidOf(number);
  process.kill(victim, 'SIGKILL');
  await expect.poll(() => pidOf(number).catch(() => victim), { timeout: 20_000 }).not.toBe(victim);
  const again = async () => {
    const { status, text } = await named('one', 'Hello').catch(() => ({ status: 0, text: async () => '' }));
    return `${status} ${/"code":"(\w+)"/.exec(await text())?.[1]}`;
  };
  await expect.poll(again, { timeout: 20_000 }).toBe('409 answer_lost');
  await stopGateway();
  const rows = await database.sql`select id from call`;
  expect(rows.map(({ id }) => id)).toEqual([...ids]);
  expect(await violations(database.sql)).toEqual([]);
});

/** Whether a process has written of a call: it was the one that served it. */
async function journalHas(number: number, callId: string): Promise<boolean> {
  const directory = join(dataDir, `journal-${number}`);
  const files = await readdir(directory);
  const texts = await Promise.all(files.map((file) => readFile(join(directory, file), 'utf8')));
  return texts.some((text) => text.includes(callId));
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
