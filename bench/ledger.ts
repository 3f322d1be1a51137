/**
 * `npm run bench:ledger` (R10): what a call's key, limits, price, hold, journal and capture cost in the gateway's own thread; how many
 * SQL statements a call needs; and how many calls a second are settled. Real Postgres with fsync, real journal, no HTTP.
 */
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import postgres from 'postgres';
import { violations } from '../db/checks.ts';
import { connect, type Sql } from '../db/connect.ts';
import { startEmbedded } from '../db/embedded.ts';
import { migrate } from '../db/migrate.ts';
import { admitCall } from '../gateway/admission.ts';
import { Keyring } from '../gateway/auth.ts';
import { newCallId } from '../gateway/call-id.ts';
import { limits } from '../gateway/config.ts';
import { createKey } from '../gateway/key-store.ts';
import { RateLimiter } from '../gateway/ratelimit.ts';
import { lockDirectory } from '../payments/directory.ts';
import { type LedgerInstance, openInstance } from '../payments/instance.ts';
import { createAgent, createOperator, deposit } from '../payments/ledger.ts';
import { type Price, quote } from '../payments/prices.ts';
import { type Closing, recordText } from '../payments/record.ts';
import { Settler } from '../payments/settle.ts';
import { machine, storeResult } from './machine.ts';
import { median } from './measure.ts';

const HELP = `npm run bench:ledger

Prints the ledger's part of a call in microseconds, SQL statements per call, and settled calls per second, each with its budget, and
stores them in bench/results/. Exits 1 when the books do not balance.
`;

const AGENTS = 100;
const CALLS = 100_000;
/** The machine has other work too: figures are medians of rounds. */
const ROUNDS = 5;
/** Calls whose beginnings or ends share a turn of the event loop, as on a busy gateway. */
const CALLS_PER_TURN = 16;
const WARM_CALLS = 20_000;
const SETTLED_CALLS = 60_000;
const FUNDS_NANOUSD = 1_000_000_000_000n;
const PRICE: Price = { version: 1, model: 'bench', input: 1_000n, cachedInput: 500n, output: 1_000_000n, perMs: 20n };

const { values } = parseArgs({ options: { help: { type: 'boolean', default: false } } });
if (values.help) process.stdout.write(HELP);
else await bench();

interface Agent {
  readonly accountId: string;
  readonly header: string;
}

async function bench(): Promise<void> {
  const home = await mkdtemp(join(tmpdir(), 'faregate-ledger-'));
  await chmod(home, 0o755);
  const server = await startEmbedded(home);
  await migrate(server.url);
  const database = connect(server.url);
  const counted = countingClient(database.sql);
  const note = (fields: object, message: string) => console.error(message, fields);
  const instance = await openInstance({
    sql: counted.sql,
    directory: lockDirectory(join(home, 'journal')),
    ack: 'page',
    now: () => performance.now(),
    log: { warn: note, error: note },
  });
  const { id: operatorId } = await createOperator(database.sql, { name: 'bench', sharePpm: 900_000 });
  const keyring = new Keyring({
    sql: database.sql,
    pepper: 'bench',
    adminKey: 'none',
    limits,
    now: () => performance.now(),
  });
  const agents: Agent[] = [];
  while (agents.length < AGENTS) agents.push(await fundedAgent(database.sql, keyring));
  const call = closing(operatorId);
  await callAll({ instance, keyring, agents, call, calls: WARM_CALLS });
  await instance.settler.drain();
  const before = counted.statements();
  const rounds: Float64Array[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    rounds.push((await callAll({ instance, keyring, agents, call, calls: CALLS / ROUNDS })).toSorted());
    await instance.settler.drain();
  }
  const statements = (counted.statements() - before) / CALLS;
  const settledPerSecond = await settleAll(database.sql, agents, call);
  const unbalanced = await violations(database.sql);
  await instance.close();
  await counted.sql.end({ timeout: 1 });
  await database.close();
  await server.stop();
  await rm(home, { recursive: true, force: true });
  const percentile = (share: number) => median(rounds.map((us) => us[Math.floor(us.length * share)] ?? 0));
  const result = {
    hotPathP50Us: percentile(0.5),
    hotPathP99Us: percentile(0.99),
    statementsPerCall: statements,
    settledPerSecond: Math.round(settledPerSecond),
  };
  print(result);
  for (const { check, subject, detail } of unbalanced) process.stderr.write(`${check}: ${subject}: ${detail}\n`);
  process.exitCode = unbalanced.length === 0 ? 0 : 1;
  await storeResult('ledger', result);
}

function print(result: Record<string, number>): void {
  const { hotPathP50Us = 0, hotPathP99Us = 0, statementsPerCall = 0, settledPerSecond = 0 } = result;
  const rows = [
    ['key, limits, price, hold, journal, capture: p50', `${hotPathP50Us.toFixed(1)} µs`, '≤ 15'],
    ['the same: p99', `${hotPathP99Us.toFixed(1)} µs`, '≤ 100'],
    ['SQL statements per call', statementsPerCall.toFixed(4), '≤ 0.02'],
    ['settled calls per second', String(settledPerSecond), '≥ 30000'],
  ];
  process.stdout.write(`${machine()}\n\n`);
  for (const [what = '', is = '', budget = ''] of rows)
    process.stdout.write(`${what.padEnd(50)}${is.padStart(10)}   ${budget}\n`);
}

/** A client of the same database that counts what it sends. */
function countingClient(like: Sql): { sql: Sql; statements: () => number } {
  let statements = 0;
  const options = { ...like.options, debug: () => void statements++ } as unknown as postgres.Options<{
    bigint: postgres.PostgresType<bigint>;
  }>;
  return { sql: postgres(options), statements: () => statements };
}

async function fundedAgent(sql: Sql, keyring: Keyring): Promise<Agent> {
  const { id: accountId } = await createAgent(sql, { name: 'bench' });
  await deposit(sql, { accountId, amount: FUNDS_NANOUSD, reference: 'bench' });
  const { key } = await createKey(sql, keyring, { ownerId: accountId, kind: 'live', name: null });
  const header = `Bearer ${key}`;
  await keyring.authenticate(header, 'agent');
  return { accountId, header };
}

function closing(operatorId: string): Closing {
  return {
    outcome: 'complete',
    endpoint: 'chat',
    model: PRICE.model,
    streamed: true,
    price: PRICE,
    workerId: 'wrk_0198f3a0aa11722bb33cc44dd55ee66f',
    operatorId,
    operatorSharePpm: 900_000,
    region: 'bench',
    attempts: 1,
    promptTokens: 800,
    cachedTokens: 512,
    completionTokens: 64,
    queueMs: 1,
    ttftMs: 31,
    billedMs: 300,
    totalMs: 332,
  };
}

interface Calls {
  readonly instance: LedgerInstance;
  readonly keyring: Keyring;
  readonly agents: readonly Agent[];
  readonly call: Closing;
  readonly calls: number;
}

/** Microseconds of the thread that each call took in all; the few that wait for a lease count without their wait. */
async function callAll({ instance, keyring, agents, call, calls }: Calls): Promise<Float64Array> {
  const us = new Float64Array(calls);
  const rates = new RateLimiter(() => 0);
  const unlimited = { requestsPerMinute: 2 ** 31, tokensPerMinute: 2 ** 40, openStreams: 256 };
  for (let done = 0; done < calls; done += CALLS_PER_TURN) {
    const open = [];
    for (let index = done; index < Math.min(calls, done + CALLS_PER_TURN); index++) {
      const { header = '' } = agents[index % agents.length] ?? {};
      const beganMs = performance.now();
      const principal = await keyring.authenticate(header, 'agent');
      const admitted = admitCall(rates, { ...principal, limits: unlimited }, { tokens: 900, stream: true });
      const amount = quote(PRICE, { promptTokensMax: 1_000, completionTokensMax: 64, durationMsMax: 1_000 });
      const outcome = instance.holds.hold({
        callId: newCallId(),
        accountId: principal.ownerId,
        keyId: principal.keyId,
        amount,
      });
      const tookMs = performance.now() - beganMs;
      const hold = await outcome;
      if ('code' in hold) throw new Error(hold.code);
      const openedMs = performance.now();
      hold.open(call);
      us[index] = (tookMs + performance.now() - openedMs) * 1_000;
      open.push({ index, hold, admitted });
    }
    await turn();
    const ends = open.map(({ index, hold, admitted }) => {
      const beganMs = performance.now();
      const safe = hold.capture(call);
      admitted.release(864);
      us[index] = (us[index] ?? 0) + (performance.now() - beganMs) * 1_000;
      return safe;
    });
    await Promise.all(ends);
  }
  return us;
}

/** Calls of many agents, settled as fast as it goes: the median of some rounds, per second. */
async function settleAll(sql: Sql, agents: readonly Agent[], call: Closing): Promise<number> {
  const leases = await sql<{ id: string; accountId: string }[]>`
    select id, account_id as "accountId" from lease where state = 'open'`;
  const text = (index: number) => {
    const { id = '', accountId = '' } = leases[index % leases.length] ?? {};
    const holding = {
      callId: newCallId(),
      accountId,
      keyId: 'key_0198f3a0aa11722bb33cc44dd55ee66f',
      leaseId: id,
      amount: 1n,
    };
    return recordText(holding, call, { charged: 1n, share: 0n });
  };
  if (leases.length !== agents.length) throw new Error('an agent has no lease');
  const perSecond: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const report = (error: unknown) => console.error(error);
    const settler = new Settler({ sql, settled: () => {}, report });
    const texts = Array.from({ length: SETTLED_CALLS }, (_, index) => text(index));
    const beganMs = performance.now();
    for (const one of texts) void settler.add({ text: one, segment: null });
    await settler.drain();
    perSecond.push((SETTLED_CALLS / (performance.now() - beganMs)) * 1_000);
  }
  return median(perSecond);
}
