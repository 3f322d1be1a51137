import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { violations } from '../../db/checks.ts';
import { testDatabase } from '../../db/testing.ts';
import { startSimulator } from '../../workers/simulator/server.ts';
import { client } from '../demo-world.ts';

const cli = fileURLToPath(new URL('../cli.ts', import.meta.url));
const ADMIN_KEY_FILE = 'admin-key';

interface Served {
  readonly process: ChildProcess;
  readonly url: string;
}

/** `faregate serve` in a process of its own, ready. */
async function serve(dataDir: string, databaseUrl: string): Promise<Served> {
  const env = {
    ...process.env,
    DATABASE_URL: databaseUrl,
    FAREGATE_DATA_DIR: dataDir,
    FAREGATE_PORT: '0',
    FAREGATE_LOG: 'error',
    FAREGATE_ALLOW_PRIVATE_WORKERS: '1',
  };
  const child = spawn(process.execPath, [cli, 'serve'], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  for await (const line of createInterface({ input: child.stdout })) {
    const ready = JSON.parse(line) as { event: string; url: string };
    expect(ready.event).toBe('ready');
    return { process: child, url: ready.url };
  }
  throw new Error('the gateway ended before it was ready');
}

function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => child.once('exit', resolve));
}

/** Reads a stream until it ends or breaks; answers the call's id and how much of the model's text came. */
async function readStream(url: string, key: string): Promise<{ id: string | null; text: string; done: boolean }> {
  let id: string | null = null;
  let text = '';
  try {
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'tiny',
        messages: [{ role: 'user', content: 'Go on for long.' }],
        max_tokens: 2_000,
        stream: true,
      }),
    });
    id = response.headers.get('x-faregate-call');
    for await (const chunk of response.body ?? []) text += Buffer.from(chunk).toString();
  } catch {
    // The gateway was killed: that is the point.
  }
  return { id, text, done: text.endsWith('data: [DONE]\n\n') };
}

describe('a gateway killed with -9', () => {
  test('during 50 streams: after the restart the books balance, nothing is held, and each delivered call is charged once', async () => {
    await using database = await testDatabase();
    const dataDir = await mkdtemp(join(tmpdir(), 'faregate-crash-'));
    const simulator = await startSimulator({ slots: 64, decodeBaseMs: 20 });
    let served = await serve(dataDir, database.url);
    const adminKey = (await readFile(join(dataDir, ADMIN_KEY_FILE), 'utf8')).trim();
    const admin = client(`${served.url}/admin/v1`, adminKey);
    await admin('PUT', '/prices/tiny', { input: 1_000_000, cached_input: 0, output: 2_000_000, per_ms: 10 });
    const { key: operatorKey } = await admin('POST', '/operators', { name: 'operator' });
    const { id: accountId } = await admin('POST', '/accounts', { name: 'agent' });
    const funds = 10_000_000_000n;
    await admin('POST', `/accounts/${accountId}/credits`, { nanousd: funds.toString(), reference: 'funds' });
    const { key } = await admin('POST', `/accounts/${accountId}/keys`, {});
    await client(`${served.url}/operator/v1`, String(operatorKey))('POST', '/workers', {
      url: simulator.url,
      models: [{ id: 'tiny', context_length: 8_192 }],
      country: 'NO',
      region: 'test',
      slots: 64,
    });
    for (let left = 200; left > 0; left--) {
      const { data } = await admin('GET', '/workers');
      if ((data as { state: string }[]).every(({ state }) => state === 'active' || state === 'probation')) break;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }

    const streams = Array.from({ length: 50 }, () => readStream(served.url, String(key)));
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    const gone = ended(served.process);
    served.process.kill('SIGKILL');
    await gone;
    const results = await Promise.all(streams);
    const begun = results.filter(({ id }) => id !== null);
    expect(begun.length).toBeGreaterThan(0);

    served = await serve(dataDir, database.url);
    const agent = client(`${served.url}/v1`, String(key));
    const account = await agent('GET', '/account');
    expect(account.held_nanousd).toBe('0');
    let charged = 0n;
    for (const { id } of begun) {
      const call = await agent('GET', `/calls/${id}`);
      expect(call.status).toBe('closed');
      charged += BigInt(String(call.charged_nanousd));
    }
    expect(charged).toBeGreaterThan(0n);
    expect(BigInt(String(account.balance_nanousd))).toBe(funds - charged);
    const again = ended(served.process);
    served.process.kill('SIGTERM');
    expect(await again).toBe(0);
    expect(await violations(database.sql)).toEqual([]);
    await simulator.close();
    await rm(dataDir, { recursive: true, force: true });
  }, 90_000);
});
