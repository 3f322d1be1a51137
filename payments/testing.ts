/** What the tests of this folder share: a price, a closing, a funded agent, an instance with a directory of its own. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { v7 as uuidv7 } from 'uuid';
import type { Sql } from '../db/connect.ts';
import { lockDirectory } from './directory.ts';
import type { Hold, HoldRequest } from './holds.ts';
import { type InstanceOptions, type LedgerInstance, openInstance } from './instance.ts';
import { createAgent, deposit } from './ledger.ts';
import type { Price } from './prices.ts';
import type { Closing } from './record.ts';

/** Each completion token costs one nano-USD; the rest is free. */
const tokenPrice: Price = {
  version: 1,
  model: 'test-model',
  input: 0n,
  cachedInput: 0n,
  output: 1_000_000n,
  perMs: 0n,
};

/** The end of a complete call of `completionTokens` nano-USD. */
export function closing(completionTokens: number, changes: Partial<Closing> = {}): Closing {
  return {
    outcome: 'complete',
    endpoint: 'chat',
    model: tokenPrice.model,
    streamed: false,
    price: tokenPrice,
    workerId: 'wrk_test',
    operatorId: null,
    operatorSharePpm: 0,
    region: 'test',
    attempts: 1,
    promptTokens: 7,
    cachedTokens: 0,
    completionTokens,
    queueMs: 1,
    ttftMs: 2,
    billedMs: 3,
    totalMs: 4,
    ...changes,
  };
}

export async function fundedAgent(sql: Sql, amount: bigint): Promise<string> {
  const { id } = await createAgent(sql, { name: 'test' });
  await deposit(sql, { accountId: id, amount, reference: 'first' });
  return id;
}

export function request(accountId: string, amount: bigint): HoldRequest {
  return { callId: uuidv7(), accountId, keyId: 'key_test', amount };
}

/** A hold that must be granted. */
export async function held(instance: LedgerInstance, accountId: string, amount: bigint): Promise<Hold> {
  const outcome = await instance.holds.hold(request(accountId, amount));
  if ('code' in outcome) throw new Error(`refused: ${outcome.code}`);
  return outcome;
}

export interface TestInstance extends LedgerInstance {
  readonly reports: { fields: object; message: string }[];
}

/** An instance that keeps what it logs, and that has taken over what earlier lives left. */
export async function testInstance(
  sql: Sql,
  dataDir: string | null,
  changes: Partial<InstanceOptions> = {},
): Promise<TestInstance> {
  const reports: { fields: object; message: string }[] = [];
  const note = (fields: object, message: string) => void reports.push({ fields, message });
  const instance = await openInstance({
    sql,
    directory: dataDir === null ? null : lockDirectory(join(dataDir, 'journal')),
    ack: dataDir === null ? 'database' : 'page',
    now: () => performance.now(),
    log: { warn: note, error: note },
    ...changes,
  });
  await instance.earlierSettled;
  return { ...instance, reports };
}

/** A directory that goes with the test. */
export async function testDirectory(): Promise<{ path: string; [Symbol.asyncDispose](): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'faregate-payments-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
