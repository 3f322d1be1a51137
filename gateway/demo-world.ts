/** What the demo needs around the gateway: three simulated workers of two operators, a price, a funded agent and a poor one. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Simulator, startSimulator } from '../workers/simulator/server.ts';
import type { Config } from './config.ts';
import type { RunningGateway } from './node.ts';

const DEMO_MODEL = 'demo-chat';
const OPERATORS = ['fjord compute', 'southern gpus'] as const;

export interface DemoWorld {
  readonly model: string;
  readonly agentKey: string;
  readonly poorKey: string;
  readonly operators: readonly { readonly id: string; readonly key: string; readonly name: string }[];
  /** What to call a worker in the table, by id. */
  readonly workerNames: ReadonlyMap<string, string>;
  close(): Promise<void>;
}

/** Unequal in speed and distance, so that the choice of a worker shows. */
const simulated = [
  { name: 'oslo (fast, near)', operator: 0, country: 'NO', region: 'eu-north', rttMs: 4, speed: 1, slots: 32 },
  { name: 'lima (fast, far)', operator: 1, country: 'PE', region: 'sa-west', rttMs: 120, speed: 1, slots: 32 },
  { name: 'pune (slow, far)', operator: 1, country: 'IN', region: 'ap-south', rttMs: 90, speed: 4, slots: 16 },
] as const;

const PRICE = { input: 200_000_000, cached_input: 50_000_000, output: 800_000_000, per_ms: 20 };
const FUNDS_NANOUSD = 5_000_000_000;
const POOR_NANOUSD = 1_000;
const CONTEXT_LENGTH = 8_192;

/** What a first start wrote down, so that later ones find the same agent with the same balance. */
interface Remembered {
  readonly operators: readonly { id: string; key: string }[];
  readonly agentKey: string;
  readonly poorKey: string;
}

export async function buildWorld(running: RunningGateway, config: Config): Promise<DemoWorld> {
  const admin = client(`${running.url}/admin/v1`, running.adminKey);
  const model = DEMO_MODEL;
  await admin('PUT', `/prices/${model}`, PRICE);
  const remembered = await remember(config, () => found(admin));
  await removeOldWorkers(running, remembered);
  const simulators = await Promise.all(simulated.map((place, seed) => startDemoSimulator(place, seed)));
  const workerNames = new Map<string, string>();
  for (const [index, place] of simulated.entries()) {
    const simulator = simulators[index];
    const operator = remembered.operators[place.operator];
    if (simulator === undefined || operator === undefined) continue;
    const id = await register(running, operator.key, { ...place, url: simulator.url, model, key: null });
    workerNames.set(id, place.name);
  }
  const first = remembered.operators[0];
  if (config.vllmUrl !== undefined && first !== undefined) {
    const real = { country: 'NO', region: 'local', slots: 4, url: config.vllmUrl, model, key: config.vllmKey ?? null };
    for (const [id, name] of await registerReal(running, admin, first.key, real)) workerNames.set(id, name);
  }
  await untilServing(admin, [...workerNames.keys()]);
  return {
    model,
    agentKey: remembered.agentKey,
    poorKey: remembered.poorKey,
    operators: remembered.operators.map((operator, index) => ({ ...operator, name: OPERATORS[index] ?? operator.id })),
    workerNames,
    close: async () => {
      await Promise.all(simulators.map((simulator) => simulator.close()));
    },
  };
}

type Client = (method: string, path: string, body?: object) => Promise<Record<string, unknown>>;

/** A JSON client for the gateway's own routes. Throws with the gateway's message. */
export function client(base: string, key: string): Client {
  return async (method, path, body) => {
    const response = await fetch(base + path, {
      method,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${text}`);
    return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
  };
}

async function remember(config: Config, make: () => Promise<Remembered>): Promise<Remembered> {
  const file = join(config.dataDir, 'demo.json');
  const known = await readFile(file, 'utf8').catch(() => null);
  if (known !== null) return JSON.parse(known) as Remembered;
  const made = await make();
  await writeFile(file, JSON.stringify(made), { mode: 0o600 });
  return made;
}

async function found(admin: Client): Promise<Remembered> {
  const operators: { id: string; key: string }[] = [];
  for (const name of OPERATORS) {
    const { id, key } = await admin('POST', '/operators', { name });
    operators.push({ id: String(id), key: String(key) });
  }
  return {
    operators,
    agentKey: await fundedKey(admin, 'demo agent', FUNDS_NANOUSD),
    poorKey: await fundedKey(admin, 'poor agent', POOR_NANOUSD),
  };
}

async function fundedKey(admin: Client, name: string, nanousd: number): Promise<string> {
  const { id } = await admin('POST', '/accounts', { name });
  await admin('POST', `/accounts/${id}/credits`, { nanousd: String(nanousd), reference: `demo ${id}` });
  const { key } = await admin('POST', `/accounts/${id}/keys`, { name: 'demo' });
  return String(key);
}

function startDemoSimulator(place: (typeof simulated)[number], seed: number): Promise<Simulator> {
  return startSimulator({
    model: DEMO_MODEL,
    seed: seed + 1,
    contextLength: CONTEXT_LENGTH,
    slots: place.slots,
    rttMs: place.rttMs,
    prefillTokensPerSecond: 20_000 / place.speed,
    decodeBaseMs: 8 * place.speed,
    decodePerRequestMs: 0.3 * place.speed,
  });
}

/** The simulators of an earlier start had other ports. */
async function removeOldWorkers(running: RunningGateway, remembered: Remembered): Promise<void> {
  for (const { key } of remembered.operators) {
    const operator = client(`${running.url}/operator/v1`, key);
    const { data } = await operator('GET', '/workers');
    for (const { id } of data as { id: string }[]) await operator('DELETE', `/workers/${id}`);
  }
}

interface Registration {
  readonly url: string;
  readonly key: string | null;
  readonly model: string;
  readonly country: string;
  readonly region: string;
  readonly slots: number;
}

async function register(running: RunningGateway, operatorKey: string, worker: Registration): Promise<string> {
  const operator = client(`${running.url}/operator/v1`, operatorKey);
  const { id } = await operator('POST', '/workers', {
    url: worker.url,
    ...(worker.key === null ? {} : { engine_key: worker.key }),
    models: [{ id: worker.model, context_length: CONTEXT_LENGTH }],
    country: worker.country,
    region: worker.region,
    slots: worker.slots,
  });
  return String(id);
}

/** A real vLLM serves models of its own names: each gets the demo's price. */
async function registerReal(
  running: RunningGateway,
  admin: Client,
  operatorKey: string,
  real: Registration,
): Promise<[string, string][]> {
  const list = await client(real.url, real.key ?? '')('GET', '/v1/models');
  const registered: [string, string][] = [];
  for (const { id } of list.data as { id: string }[]) {
    await admin('PUT', `/prices/${encodeURIComponent(id)}`, PRICE);
    const worker = await register(running, operatorKey, { ...real, model: id });
    registered.push([worker, `real vLLM (${id})`]);
  }
  return registered;
}

async function untilServing(admin: Client, ids: readonly string[]): Promise<void> {
  for (let left = 300; left > 0; left--) {
    const { data } = await admin('GET', '/workers');
    const workers = (data as { id: string; state: string; last_error: string | null }[]).filter(({ id }) =>
      ids.includes(id),
    );
    if (workers.length === ids.length && workers.every(({ state }) => state === 'active' || state === 'probation'))
      return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error('the workers did not pass their first check within 30 s');
}
