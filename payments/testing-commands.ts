/** The commands of the model test: each does the same to the model and to the real ledger, and compares what they say. */
import fc from 'fast-check';
import { v7 as uuidv7 } from 'uuid';
import type { Sql } from '../db/connect.ts';
import { createBudget } from './budgets.ts';
import type { Hold, HoldRequest } from './holds.ts';
import type { LedgerInstance } from './instance.ts';
import type { Refusal } from './leases.ts';
import { deposit, newId } from './ledger.ts';
import type { Nanousd } from './money.ts';
import { refundCall } from './refunds.ts';
import { closing } from './testing.ts';
import type { LedgerModel, ModelCall } from './testing-model.ts';
import type { LedgerNode } from './testing-node.ts';

export interface Real {
  readonly sql: Sql;
  readonly agents: readonly string[];
  readonly nodes: readonly LedgerNode[];
  /** By call id. */
  readonly holds: Map<string, Hold>;
  readonly clock: { nowMs: number };
  /** Keys with budgets: by agent, the line of budgets that each key has. */
  readonly keys: { readonly agent: number; readonly line: readonly string[] }[];
}

export const AGENTS = 2;
export const NODES = 2;
/** How often a client asks anew that finds no ledger. */
const ATTEMPTS = 10;

type Command = fc.AsyncCommand<LedgerModel, Real>;

/** Any sequence of these is allowed; one that makes no sense in a state does nothing there. */
export function ledgerCommands(): fc.Arbitrary<Command>[] {
  const agent = fc.nat(AGENTS - 1);
  const node = fc.nat(NODES - 1);
  const pick = fc.nat(100);
  const amount = fc.integer({ min: 1, max: 500 });
  /** One of the agent's keys with a budget, or more often none of them. */
  const key = fc.option(fc.nat(5), { freq: 2 });
  const tokens = fc.nat(400);
  const touch = fc.constantFrom('open', 'progress', 'progress', 'close', 'close', 'abort', 'void');
  return [
    fc
      .tuple(agent, fc.integer({ min: 1, max: 1_000 }), fc.nat(5))
      .map(([a, size, ref]) => topUp(a, BigInt(size), `${ref}`)),
    ...Array<fc.Arbitrary<Command>>(4).fill(
      fc.tuple(node, agent, amount, key).map(([n, a, size, k]) => reserve(n, a, BigInt(size), k)),
    ),
    fc.tuple(node, agent, key).map(([n, a, k]) => recall(n, a, k)),
    fc.tuple(agent, key, fc.integer({ min: 0, max: 1_500 })).map(([a, k, limit]) => mint(a, k, BigInt(limit))),
    fc.tuple(pick, fc.integer({ min: 1, max: 300 })).map(([which, size]) => refund(which, BigInt(size))),
    ...Array<fc.Arbitrary<Command>>(6).fill(
      fc.tuple(touch, pick, tokens).map(([how, which, count]) => use(how, which, count)),
    ),
    fc.integer({ min: 1, max: 700 }).map(tick),
    node.map(crash),
    ...Array<fc.Arbitrary<Command>>(3).fill(node.map(restart)),
    node.map(drain),
    fc.tuple(node, fc.constantFrom(true, false, false)).map(([n, cut]) => partition(n, cut)),
    fc.constant(compare),
  ];
}

function command(name: string, run: (model: LedgerModel, real: Real) => Promise<void>): Command {
  return { check: () => true, run, toString: () => name };
}

function topUp(agent: number, amount: Nanousd, reference: string): Command {
  return command(`top up agent ${agent} by ${amount} as ${reference}`, async (model, real) => {
    const booked = await deposit(real.sql, { accountId: real.agents[agent] ?? '', amount, reference });
    expectSame('the deposit is booked', 'txn' in booked, model.topUp(agent, amount, reference));
  });
}

function reserve(index: number, agent: number, amount: Nanousd, key: number | null): Command {
  return command(`reserve ${amount} of agent ${agent} on node ${index}, key ${key}`, (model, real) =>
    hold(model, real, { index, agent, amount, line: lineOf(real, agent, key) }).then(() => {}),
  );
}

/** Somebody asks for all that is there, which other nodes and other keys may have leased, and does nothing with it. */
function recall(index: number, agent: number, key: number | null): Command {
  return command(`hold and void all of agent ${agent} on node ${index}, key ${key}`, async (model, real) => {
    const line = lineOf(real, agent, key);
    const id = await hold(model, real, { index, agent, amount: model.available(agent, line), line });
    const call = model.calls.get(id ?? '');
    if (id === null || call === undefined) return;
    await real.holds.get(id)?.void();
    model.void(id, call);
  });
}

/** A key with a budget, below another one of the agent's or below none. */
function mint(agent: number, below: number | null, limit: Nanousd): Command {
  return command(`mint a key of agent ${agent} with ${limit} below ${below}`, async (model, real) => {
    const id = newId('key');
    await createBudget(real.sql, id, { limit, windowSeconds: null });
    real.keys.push({ agent, line: [id, ...lineOf(real, agent, below)] });
    model.limits.set(id, limit);
  });
}

function lineOf({ keys }: Real, agent: number, key: number | null): readonly string[] {
  const own = keys.filter((other) => other.agent === agent);
  return key === null ? [] : (own[key % (own.length || 1)]?.line ?? []);
}

/**
 * Holds exactly when the money is there: a node that is cut off or dead may keep some of it from the others, which are refused then. The
 * id of the call; null when there is none.
 */
async function hold(
  model: LedgerModel,
  real: Real,
  { index, agent, amount, line }: { index: number; agent: number; amount: Nanousd; line: readonly string[] },
): Promise<string | null> {
  const node = real.nodes[index];
  if (!node?.instance) return null;
  const id = uuidv7();
  const accountId = real.agents[agent] ?? '';
  const available = model.available(agent, line);
  const asked = { callId: id, accountId, keyId: 'key_model', budgets: line, amount };
  const outcome = await holdPatiently(node, node.instance, asked);
  if (!('code' in outcome)) {
    if (amount > available) throw new Error(`held ${amount} of ${available}`);
    real.holds.set(id, outcome);
    model.reserve(id, { agent, instance: index, line, amount });
    return id;
  }
  if (outcome.code === 'ledger_unavailable') expectSame('only a node cut off finds no ledger', node.partitioned, true);
  else {
    if (outcome.available >= amount) throw new Error(`refused ${amount} though ${outcome.available} are there`);
    if (outcome.available > available) throw new Error(`claims ${outcome.available} to be available`);
    const allAnswer = real.nodes.every((other) => other.instance !== null && !other.partitioned);
    if (allAnswer && amount <= available) throw new Error(`refused ${amount} of ${available} though all nodes answer`);
  }
  return null;
}

/** Only what is settled can be refunded, and never more than the charge. */
function refund(which: number, amount: Nanousd): Command {
  return command(`refund ${amount} of call ${which}`, async (model, real) => {
    const known = [...model.calls].filter(([, { charged }]) => charged !== null);
    const [id, call] = known[which % (known.length || 1)] ?? [];
    if (id === undefined || call === undefined) return;
    const wasSettled = (await settled(real)).some((row) => row.id === id);
    const outcome = await refundCall(real.sql, { callId: id, amount, reason: 'model', reference: uuidv7() });
    const said = 'code' in outcome ? outcome.code : 'refunded';
    if (said === 'call_not_found') expectSame(`call ${id} is settled`, false, wasSettled);
    else expectSame(`the refund of ${id}`, said, model.refund(call, amount) ? 'refunded' : 'above_charge');
  });
}

/** As a client does whom a slow database kept from its money: a busy machine may answer later than the ledger waits. */
async function holdPatiently(node: LedgerNode, instance: LedgerInstance, asked: HoldRequest): Promise<Hold | Refusal> {
  for (let attempt = 1; ; attempt++) {
    const outcome = await instance.holds.hold(asked);
    const late = 'code' in outcome && outcome.code === 'ledger_unavailable' && !node.partitioned;
    if (!late || attempt === ATTEMPTS) return outcome;
  }
}

/** Something happens to one of the calls that live, or that have ended already: then nothing may change. */
function use(how: string, which: number, tokens: number): Command {
  return command(`${how} call ${which} at ${tokens}`, async (model, real) => {
    const known = [...model.calls].filter(([, { instance }]) => real.nodes[instance]?.instance);
    const [id, call] = known[which % (known.length || 1)] ?? [];
    const hold = real.holds.get(id ?? '');
    if (id === undefined || call === undefined || hold === undefined) return;
    await apply(how, { id, call, hold, tokens }, model);
    // The end of the turn, when the journal is written.
    await new Promise((resolve) => setImmediate(resolve));
  });
}

async function apply(
  how: string,
  { id, call, hold, tokens }: { id: string; call: ModelCall; hold: Hold; tokens: number },
  model: LedgerModel,
): Promise<void> {
  const cost = BigInt(tokens);
  if (how === 'open') {
    hold.open(closing(0, { streamed: true }));
    model.open(call);
  } else if (how === 'progress') {
    hold.progress(closing(tokens));
    model.progress(call, cost);
  } else if (how === 'void') {
    await hold.void();
    model.void(id, call);
  } else {
    await hold.capture(closing(tokens, { outcome: how === 'abort' ? 'aborted' : 'complete' }));
    model.close(call, cost);
  }
  if (call.charged !== null) expectSame(`the charge of ${id}`, hold.charged, call.charged);
}

function tick(ms: number): Command {
  return command(`${ms} ms pass`, async (model, real) => {
    real.clock.nowMs += ms;
    for (const { instance } of real.nodes) instance?.holds.expire();
    model.tick(ms, (index) => Boolean(real.nodes[index]?.instance));
    await new Promise((resolve) => setImmediate(resolve));
  });
}

function crash(index: number): Command {
  return command(`node ${index} is killed`, async (model, real) => {
    real.nodes[index]?.kill();
    model.end(index);
  });
}

function restart(index: number): Command {
  return command(`node ${index} starts`, async (_model, real) => {
    const node = real.nodes[index];
    if (node !== undefined && node.instance === null) await node.start();
  });
}

function drain(index: number): Command {
  return command(`node ${index} drains and starts`, async (model, real) => {
    const node = real.nodes[index];
    if (node === undefined || node.instance === null || node.partitioned) return;
    await node.stop();
    model.end(index);
    await node.start();
  });
}

function partition(index: number, cut: boolean): Command {
  return command(`node ${index} is ${cut ? 'cut off' : 'back'}`, async (_model, real) => {
    if (cut) real.nodes[index]?.partition();
    else real.nodes[index]?.heal();
  });
}

/** Everything that can be settled is; then each settled call is charged as the model says. */
const compare: Command = command('compare', async (model, real) => {
  for (const node of real.nodes) if (!node.partitioned) await node.instance?.settler.drain();
  for (const { id, charged } of await settled(real))
    expectSame(`the charge of ${id}`, charged, model.calls.get(id)?.charged);
});

/** When all nodes have come back and drained: the ledger says what the model says, to the nano. */
export async function compareAtEnd(model: LedgerModel, real: Real): Promise<void> {
  for (const [index, node] of real.nodes.entries()) {
    node.heal();
    if (node.instance === null) await node.start();
    await node.stop();
    model.end(index);
  }
  const charges = new Map((await settled(real)).map(({ id, charged }) => [id, charged]));
  for (const [id, { charged }] of model.calls) expectSame(`the charge of ${id}`, charges.get(id), charged);
  expectSame('the number of calls', charges.size, model.calls.size);
  for (const [agent, accountId] of real.agents.entries()) {
    const rows = await real.sql<{ kind: string; balance: Nanousd }[]>`
      select kind, balance from account where owner = ${accountId} and balance <> 0`;
    const expected = model.available(agent);
    const [only = { kind: 'prepaid', balance: 0n }, ...more] = rows;
    expectSame(`the money of agent ${agent}`, `${only.kind} ${only.balance}`, `prepaid ${expected}`);
    expectSame('nothing is leased', more.length, 0);
  }
}

function settled({ sql, agents }: Real): Promise<{ id: string; charged: Nanousd }[]> {
  return sql<{ id: string; charged: Nanousd }[]>`
    select id::text as id, charged_nanousd as charged from call where account_id = any(${`{${agents.join(',')}}`}::text[])`;
}

function expectSame<T>(what: string, real: T, model: T): void {
  if (real !== model) throw new Error(`${what}: ${String(real)}, and by the model ${String(model)}`);
}
