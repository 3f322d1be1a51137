/** A whole gateway for tests: real Postgres, real sockets, simulated workers, an operator, a price and a funded agent. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestDatabase, testDatabase } from '../db/testing.ts';
import { type Simulator, type SimulatorOptions, startSimulator } from '../workers/simulator/server.ts';
import { type Config, type Limits, limits, readConfig } from './config.ts';
import { client } from './demo-world.ts';
import { type RunningGateway, startGateway } from './node.ts';
import type { Log } from './platform.ts';

interface TestWorker {
  readonly url: string;
  readonly engineKey?: string;
  readonly models: readonly { id: string; context_length: number }[];
  readonly country?: string;
  readonly region?: string;
  readonly slots?: number;
}

export interface TestOptions {
  /** Simulators to start; default: one of model `tiny`. */
  readonly simulators?: readonly SimulatorOptions[];
  /** Other workers to register, of real servers or of a test's own. */
  readonly workers?: readonly TestWorker[];
  readonly price?: { input: number; cached_input: number; output: number; per_ms: number };
  readonly balanceNanousd?: bigint;
  readonly limits?: Partial<Limits>;
  readonly config?: Partial<Config>;
  readonly log?: Log;
}

interface PostInit {
  readonly key?: string;
  readonly signal?: AbortSignal;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface TestGateway extends AsyncDisposable {
  readonly url: string;
  readonly running: RunningGateway;
  readonly database: TestDatabase;
  readonly accountId: string;
  readonly apiKey: string;
  readonly operatorId: string;
  readonly operatorKey: string;
  readonly workerIds: readonly string[];
  readonly simulators: readonly Simulator[];
  readonly admin: ReturnType<typeof client>;
  readonly operator: ReturnType<typeof client>;
  readonly agent: ReturnType<typeof client>;
  /** A call as an agent's own HTTP client makes it; a whole URL goes to another entry on the same database. */
  post(path: string, body: unknown, init?: PostInit): Promise<Response>;
  register(worker: TestWorker): Promise<string>;
  untilServing(ids: readonly string[]): Promise<void>;
  /** Stops everything; the books must balance. */
  stop(): Promise<void>;
}

export const testPrice = { input: 1_000_000, cached_input: 500_000, output: 2_000_000, per_ms: 10 };
export const CONTEXT_LENGTH = 8_192;

export async function startTestGateway(options: TestOptions = {}): Promise<TestGateway> {
  const database = await testDatabase();
  const dataDir = await mkdtemp(join(tmpdir(), 'faregate-gateway-'));
  const base = readConfig({
    FAREGATE_PORT: '0',
    FAREGATE_DATA_DIR: dataDir,
    FAREGATE_LOG: 'silent',
    DATABASE_URL: database.url,
    FAREGATE_ALLOW_PRIVATE_WORKERS: '1',
  });
  const config = { ...base, ...options.config, limits: { ...limits, ...options.limits } };
  const running = await startGateway(config, options.log);
  const simulators = await Promise.all((options.simulators ?? [{}]).map((simulator) => startSimulator(simulator)));
  const admin = client(`${running.url}/admin/v1`, running.adminKey);
  const { id: operatorId, key: operatorKey } = await admin('POST', '/operators', { name: 'test operator' });
  const { id: accountId } = await admin('POST', '/accounts', { name: 'test agent' });
  const nanousd = String(options.balanceNanousd ?? 10_000_000_000n);
  await admin('POST', `/accounts/${accountId}/credits`, { nanousd, reference: 'test funds' });
  const { key: apiKey } = await admin('POST', `/accounts/${accountId}/keys`, {});
  const operator = client(`${running.url}/operator/v1`, String(operatorKey));
  const register = async (worker: TestWorker): Promise<string> => {
    for (const { id } of worker.models)
      await admin('PUT', `/prices/${encodeURIComponent(id)}`, options.price ?? testPrice);
    const { engineKey, ...rest } = { country: 'NO', region: 'test', slots: 32, ...worker };
    const { id } = await operator('POST', '/workers', {
      ...rest,
      ...(engineKey === undefined ? {} : { engine_key: engineKey }),
    });
    return String(id);
  };
  const workerIds: string[] = [];
  for (const [index, simulator] of simulators.entries())
    workerIds.push(await register(simulatedWorker(simulator, options.simulators?.[index] ?? {})));
  for (const worker of options.workers ?? []) workerIds.push(await register(worker));
  const untilServing = (ids: readonly string[]) => waitUntilServing(admin, ids);
  await untilServing(workerIds);
  const stop = async () => {
    await running.stop(AbortSignal.abort());
    await Promise.all(simulators.map((simulator) => simulator.close()));
    await rm(dataDir, { recursive: true, force: true });
    await database[Symbol.asyncDispose]();
  };
  return {
    url: running.url,
    running,
    database,
    accountId: String(accountId),
    apiKey: String(apiKey),
    operatorId: String(operatorId),
    operatorKey: String(operatorKey),
    workerIds,
    simulators,
    admin,
    operator,
    agent: client(`${running.url}/v1`, String(apiKey)),
    post: (path, body, init = {}) => post(new URL(path, running.url), String(apiKey), body, init),
    register,
    untilServing,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

function simulatedWorker(simulator: Simulator, options: SimulatorOptions): TestWorker {
  const models = [{ id: options.model ?? 'tiny', context_length: options.contextLength ?? CONTEXT_LENGTH }];
  return { url: simulator.url, models, ...(options.apiKey === undefined ? {} : { engineKey: options.apiKey }) };
}

function post(url: URL, ownKey: string, body: unknown, { key = ownKey, signal, headers }: PostInit): Promise<Response> {
  return fetch(url, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...(signal === undefined ? {} : { signal }),
  });
}

/** Waits until every worker has passed its first real completion. */
async function waitUntilServing(admin: ReturnType<typeof client>, ids: readonly string[]): Promise<void> {
  for (let left = 600; left > 0; left--) {
    const { data } = await admin('GET', '/workers');
    const states = new Map((data as { id: string; state: string }[]).map(({ id, state }) => [id, state]));
    if (ids.every((id) => states.get(id) === 'active' || states.get(id) === 'probation')) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('the workers did not pass their first check within 30 s');
}

/** Another gateway over the database of the first. Stopping it takes its data directory away too. */
export async function startBeside({ database }: TestGateway): Promise<RunningGateway> {
  const dataDir = await mkdtemp(join(tmpdir(), 'faregate-beside-'));
  const running = await startGateway(
    readConfig({
      FAREGATE_PORT: '0',
      FAREGATE_DATA_DIR: dataDir,
      FAREGATE_LOG: 'silent',
      DATABASE_URL: database.url,
      FAREGATE_ALLOW_PRIVATE_WORKERS: '1',
    }),
  );
  const stop = async (hurry?: AbortSignal) => {
    await running.stop(hurry);
    await rm(dataDir, { recursive: true, force: true });
  };
  return { ...running, stop };
}
