/** What stands around a measured gateway: Postgres, the fast worker, prices, agents with money and keys; and the look at the books. */
import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { violations } from '../db/checks.ts';
import { connect, type Database } from '../db/connect.ts';
import { startEmbedded } from '../db/embedded.ts';
import { client } from '../gateway/demo-world.ts';
import { mintKey } from '../gateway/keys.ts';
import { cost } from '../payments/prices.ts';
import { COMPLETION_TOKENS, models, PROMPT_TOKENS } from './answers.ts';
import { stepBack } from './precedence.ts';
import { type Child, type Start, start } from './processes.ts';

/** Nano-USD per million tokens; nothing per millisecond, so that the price of every call is known. */
const PRICE = { input: 200_000_000, cached_input: 50_000_000, output: 800_000_000, per_ms: 0 };
/** What one complete call costs, by the product's own rule. */
export const CALL_NANOUSD = cost(
  { version: 0, model: '', input: 200_000_000n, cachedInput: 50_000_000n, output: 800_000_000n, perMs: 0n },
  { promptTokens: PROMPT_TOKENS, cachedTokens: 0, completionTokens: COMPLETION_TOKENS, billedMs: 0 },
);
const CONTEXT_LENGTH = 262_144;
const ADMIN_KEY = mintKey('adm', randomBytes);
const AGENTS = 16;
const SLOTS = 1_024;
const SETTLE_WAIT_MS = 15_000;
const SERVE_WAIT_MS = 15_000;
const POLL_MS = 50;
const FUNDS_NANOUSD = 1_000_000_000_000_000n;
/** Keys have limits, and none may be met: the most that the columns hold. */
const UNLIMITED = 2_147_483_647;

export interface World {
  readonly worker: Child;
  /** The product: `faregate serve`. */
  readonly gateway: Child;
  readonly keys: readonly string[];
  /** The bare pass-through to the worker. */
  startFloor(): Promise<Child>;
  /** Another process on the same database, with a data directory of its own. */
  startBeside(file: string, args: readonly string[]): Promise<Child>;
  /** The product in so many processes, on all cores. */
  startProcesses(count: number): Promise<Child>;
  /** A new agent with this balance; answers its key. */
  fund(nanousd: bigint): Promise<string>;
  /** What the database knows once so many calls are settled. Throws when they do not come, or the books do not balance. */
  books(calls: number): Promise<Books>;
  stop(): Promise<void>;
}

/** Of all calls so far. */
interface Books {
  readonly calls: number;
  /** Of those that were delivered to their end. */
  readonly complete: number;
  readonly completeNanousd: bigint;
  readonly chargedNanousd: bigint;
}

/** Starts all of it. Nothing is left running when a part does not start. */
export async function buildWorld(workerPort = 0): Promise<World> {
  const undo: (() => Promise<unknown>)[] = [];
  const stop = async () => {
    for (const step of undo.splice(0)) await step();
  };
  try {
    return await begin(undo, stop, workerPort);
  } catch (error) {
    await stop();
    throw error;
  }
}

async function begin(undo: (() => Promise<unknown>)[], stop: () => Promise<void>, workerPort: number): Promise<World> {
  const directory = await mkdtemp(join(tmpdir(), 'faregate-bench-'));
  undo.unshift(() => rm(directory, { recursive: true, force: true }));
  await chmod(directory, 0o755);
  const postgres = await startEmbedded(join(directory, 'postgres'));
  undo.unshift(() => postgres.stop());
  const database = connect(postgres.url, { max: 2 });
  undo.unshift(() => database.close());
  const startOn = async (
    cores: Start['cores'],
    file: string,
    args: readonly string[] = [],
    more: Start['env'] = {},
  ): Promise<Child> => {
    const env = {
      ...more,
      DATABASE_URL: postgres.url,
      FAREGATE_DATA_DIR: join(directory, `data-${undo.length}`),
      FAREGATE_PORT: '0',
      FAREGATE_LOG: 'warn',
      FAREGATE_ALLOW_PRIVATE_WORKERS: '1',
      FAREGATE_ADMIN_KEY: ADMIN_KEY,
    };
    const child = await start({ file, args, cores, env });
    undo.unshift(() => child.stop());
    return child;
  };
  const gateway = await startOn('measured', 'gateway/cli.ts', ['serve']);
  const worker = await startOn('others', 'bench/fast-worker.ts', [String(workerPort)]);
  const admin = client(`${gateway.url}/admin/v1`, ADMIN_KEY);
  await register(gateway.url, worker.url, admin);
  const fund = async (nanousd: bigint) => {
    const key = await fundedKey(admin, nanousd);
    await database.sql`
      update api_key set requests_per_minute = ${UNLIMITED}, tokens_per_minute = ${UNLIMITED}, open_streams = ${UNLIMITED}`;
    return key;
  };
  // One after the other: two updates of all keys could wait for each other.
  const keys: string[] = [];
  while (keys.length < AGENTS) keys.push(await fund(FUNDS_NANOUSD));
  await stepBack(database.sql);
  return {
    worker,
    gateway,
    keys,
    startFloor: () => startOn('measured', 'bench/floor.ts', [worker.url]),
    startBeside: (file, args) => startOn('measured', file, args),
    startProcesses: (count) => startOn('all', 'gateway/cli.ts', ['serve'], { FAREGATE_PROCESSES: String(count) }),
    fund,
    books: (calls) => readBooks(database, calls),
    stop,
  };
}

type Client = ReturnType<typeof client>;

/** Prices the models and registers the worker; resolves when it serves. */
async function register(gatewayUrl: string, workerUrl: string, admin: Client): Promise<void> {
  const names = Object.values(models);
  for (const model of names) await admin('PUT', `/prices/${model}`, PRICE);
  const { key } = await admin('POST', '/operators', { name: 'bench operator' });
  await client(`${gatewayUrl}/operator/v1`, String(key))('POST', '/workers', {
    url: workerUrl,
    models: names.map((id) => ({ id, context_length: CONTEXT_LENGTH })),
    country: 'NO',
    region: 'bench',
    slots: SLOTS,
  });
  const endMs = performance.now() + SERVE_WAIT_MS;
  while (performance.now() < endMs) {
    const { data } = await admin('GET', '/workers');
    if ((data as { state: string }[]).every(({ state }) => state === 'active' || state === 'probation')) return;
    await sleep(POLL_MS);
  }
  throw new Error('the worker did not pass its check');
}

async function fundedKey(admin: Client, nanousd: bigint): Promise<string> {
  const { id } = await admin('POST', '/accounts', { name: 'bench agent' });
  await admin('POST', `/accounts/${String(id)}/credits`, {
    nanousd: String(nanousd),
    reference: `bench ${String(id)}`,
  });
  const { key } = await admin('POST', `/accounts/${String(id)}/keys`, {});
  return String(key);
}

async function readBooks({ sql }: Database, calls: number): Promise<Books> {
  // Under load the gateway has opened further connections.
  await stepBack(sql);
  const endMs = performance.now() + SETTLE_WAIT_MS;
  for (;;) {
    const [books] = await sql<Books[]>`
      select count(*)::int as calls, count(*) filter (where outcome = 'complete')::int as complete,
        coalesce(sum(charged_nanousd) filter (where outcome = 'complete'), 0)::bigint as "completeNanousd",
        coalesce(sum(charged_nanousd), 0)::bigint as "chargedNanousd"
      from call`;
    if (books !== undefined && books.calls >= calls) {
      const found = await violations(sql);
      if (found.length > 0) throw new Error(`the books do not balance: ${JSON.stringify(found)}`);
      return books;
    }
    if (performance.now() > endMs) throw new Error(`${calls} calls were made, and ${books?.calls ?? 0} are settled`);
    await sleep(POLL_MS);
  }
}
