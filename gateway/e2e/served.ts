/** `faregate serve` in a process of its own, for tests that end it by signals. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { client } from '../demo-world.ts';

const cli = fileURLToPath(new URL('../cli.ts', import.meta.url));

export interface Served {
  readonly process: ChildProcess;
  readonly url: string;
  readonly adminKey: string;
  /** The exit code; null when a signal ended it. */
  readonly ended: Promise<number | null>;
}

/** Resolves when the gateway is ready. Throws with its last words and exit code when it ends before. */
export async function serve(
  dataDir: string,
  databaseUrl: string,
  processes = 1,
  more: Readonly<Record<string, string>> = {},
): Promise<Served> {
  const env = {
    ...process.env,
    DATABASE_URL: databaseUrl,
    FAREGATE_DATA_DIR: dataDir,
    FAREGATE_PORT: '0',
    FAREGATE_LOG: 'error',
    FAREGATE_PROCESSES: String(processes),
    FAREGATE_ALLOW_PRIVATE_WORKERS: '1',
    ...more,
  };
  const child = spawn(process.execPath, [cli, 'serve'], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  let lastWords = '';
  child.stderr.on('data', (chunk) => {
    lastWords += chunk;
  });
  for await (const line of createInterface({ input: child.stdout })) {
    const { event, url } = JSON.parse(line) as { event: string; url: string };
    if (event !== 'ready') break;
    const adminKey = (await readFile(join(dataDir, 'admin-key'), 'utf8')).trim();
    return { process: child, url, adminKey, ended };
  }
  throw new Error(`the gateway ended with ${await ended} before it was ready: ${lastWords}`);
}

export const FUNDS_NANOUSD = 10_000_000_000n;

/** A price, an operator with one worker that serves, and a funded agent, whose key is answered. */
export async function openMarket(
  { url, adminKey }: Pick<Served, 'url' | 'adminKey'>,
  workerUrl: string,
  slots = 64,
): Promise<string> {
  const admin = client(`${url}/admin/v1`, adminKey);
  await admin('PUT', '/prices/tiny', { input: 1_000_000, cached_input: 0, output: 2_000_000, per_ms: 10 });
  const { key: operatorKey } = await admin('POST', '/operators', { name: 'operator' });
  const { id: accountId } = await admin('POST', '/accounts', { name: 'agent' });
  await admin('POST', `/accounts/${accountId}/credits`, { nanousd: FUNDS_NANOUSD.toString(), reference: 'funds' });
  const { key } = await admin('POST', `/accounts/${accountId}/keys`, {});
  await client(`${url}/operator/v1`, String(operatorKey))('POST', '/workers', {
    url: workerUrl,
    models: [{ id: 'tiny', context_length: 8_192 }],
    country: 'NO',
    region: 'test',
    slots,
  });
  for (let left = 200; left > 0; left--) {
    const { data } = await admin('GET', '/workers');
    if ((data as { state: string }[]).every(({ state }) => state === 'active' || state === 'probation')) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return String(key);
}

/** Begins a stream. `text` is what came until it ended, or broke with the gateway. */
export async function beginStream(url: string, key: string, maxTokens: number) {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'tiny',
      messages: [{ role: 'user', content: 'Go on for long.' }],
      max_tokens: maxTokens,
      // Otherwise the model may end sooner than the test wants.
      min_tokens: maxTokens,
      stream: true,
    }),
  });
  return { id: response.headers.get('x-faregate-call'), text: readAll(response) };
}

async function readAll(response: Response): Promise<string> {
  let text = '';
  try {
    for await (const chunk of response.body ?? []) text += Buffer.from(chunk).toString();
  } catch {
    // The gateway was killed: what came until then is the answer.
  }
  return text;
}
