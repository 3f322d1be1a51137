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
  readonly databaseUrl: string;
  readonly database: Database;
  readonly worker: Child;
  /** The product: `faregate serve`. */
  readonly gateway: Child;
  readonly keys: readonly string[];
  /** The bare pass-through to the worker. */
  startFloor(): Promise<Child>;
  /** Another process on the same database, with a data directory of its own. */
  startBeside(file: string, args: readonly string[]): Promise<Child>;
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

export async function buildWorld(options: Partial<Start> = {}): Promise<World> {
  const directory = await mkdtemp(join(tmpdir(), 'faregate-bench-'));
  await chmod(directory, 0o755);
  const postgres = await startEmbedded(join(directory, 'postgres'));
  const database = connect(postgres.url, { max: 2 });
  const children: Child[] = [];
  const begin = async (file: string, args: readonly string[], more: Partial<Start> = {}): Promise<Child> => {
    const env = {
      DATABASE_URL: postgres.url,
      FAREGATE_DATA_DIR: join(directory, `data-${children.length}`),
      FAREGATE_PORT: '0',
      FAREGATE_LOG: 'warn',
      FAREGATE_ALLOW_PRIVATE_WORKERS: '1',
      FAREGATE_ADMIN_KEY: ADMIN_KEY,
    };
    const child = await start({ file, args, cores: 'measured', ...more, env: { ...env, ...more.env } });
    children.push(child);
    return child;
  };
  const gateway = await begin('gateway/cli.ts', ['serve'], options);
  const worker = await start({ file: 'bench/fast-worker.ts', cores: 'others' });
  children.push(worker);
  const admin = client(`${gateway.url}/admin/v1`, ADMIN_KEY);
  await register(gateway.url, worker.url, admin);
  const keys = await Promise.all(Array.from({ length: AGENTS }, () => fundedKey(admin, FUNDS_NANOUSD)));
  const unlimit = () =>
    database.sql`update api_key set requests_per_minute = ${UNLIMITED}, tokens_per_minute = ${UNLIMITED}, open_streams = ${UNLIMITED}`;
  await unlimit();
  return {
    databaseUrl: postgres.url,
    database,
    worker,
    gateway,
    keys,
    startFloor: () => begin('bench/floor.ts', [worker.url]),
    startBeside: begin,
    fund: async (nanousd) => {
      const key = await fundedKey(admin, nanousd);
      await unlimit();
      return key;
    },
    books: (calls) => readBooks(database, calls),
    stop: async () => {
      await Promise.all(children.map((child) => child.stop()));
      await database.close();
      await postgres.stop();
      await rm(directory, { recursive: true, force: true });
    },
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
