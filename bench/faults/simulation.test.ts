/**
 * The ledger of one gateway, life after life, on a disk and a database that fail at random (R6): the real holds, leases, journal,
 * settler and recovery, with only the system calls and the SQL replaced. FAREGATE_SIMULATION_SEEDS runs more, _FROM begins elsewhere.
 */
import { v7 as uuidv7 } from 'uuid';
import { expect, test, vi } from 'vitest';
import type { Hold } from '../../payments/holds.ts';
import { type LedgerInstance, openInstance } from '../../payments/instance.ts';
import type { Damage } from '../../payments/journal-files.ts';
import { closing } from '../../payments/testing.ts';
import { type Random, randomInteger, seededRandom } from '../../workers/simulator/random.ts';
import { type Client, SimulatedDatabase } from './simulated-database.ts';
import * as disk from './simulated-disk.ts';

const clock = vi.hoisted(() => ({ nowMs: 0 }));
/** The database that this seed's statements go to. */
const world = vi.hoisted(() => ({ database: null as unknown }));

vi.mock('node:fs', () => import('./simulated-disk.ts'));
vi.mock('node:timers/promises', () => ({
  setTimeout: async (ms: number) => {
    clock.nowMs += ms;
    await new Promise((resolve) => setImmediate(resolve));
  },
}));
vi.mock('../../payments/journal-files.ts', async (original) => {
  const files = await original<typeof import('../../payments/journal-files.ts')>();
  // Segments of a few records, so that many are begun, and retired.
  class FileJournal extends files.FileJournal {
    constructor(directory: string, options: ConstructorParameters<typeof files.FileJournal>[1]) {
      super(directory, { ...options, segmentBytesMax: 2_000 });
    }
  }
  return { ...files, FileJournal };
});
vi.mock('../../payments/lock.ts', () => ({ takeLock: async () => ({ held: true, release: async () => {} }) }));
vi.mock('../../payments/lease-statements.ts', async (original) => {
  const database = () => world.database as SimulatedDatabase;
  return {
    ...(await original<typeof import('../../payments/lease-statements.ts')>()),
    grant: (client: Client, ...args: Parameters<SimulatedDatabase['grant']>) =>
      database().run(client, () => database().grant(...args)),
    giveBack: (client: Client, ...args: Parameters<SimulatedDatabase['giveBack']>) =>
      database().run(client, () => database().giveBack(...args)),
    renew: (client: Client, ...args: Parameters<SimulatedDatabase['renew']>) =>
      database().run(client, () => database().renew(...args)),
    returnLeases: async (client: Client, _instance: string, beforeEpoch: number) => {
      for (let done = false; !done; ) {
        done = await database()
          .run(client, () => database().returnLeases(beforeEpoch))
          .then(() => true)
          .catch(() => client.dead);
      }
    },
  };
});
vi.mock('../../payments/recall-statements.ts', async (original) => ({
  ...(await original<typeof import('../../payments/recall-statements.ts')>()),
  recall: async () => ({ asked: [], back: false }),
}));
vi.mock('../../payments/posting.ts', () => ({
  postCalls: (client: Client, calls: string) => {
    const database = world.database as SimulatedDatabase;
    return database.run(client, () => database.postCalls(calls));
  },
  postShortCall: (client: Client, text: string) => {
    const database = world.database as SimulatedDatabase;
    return database.run(client, () => database.postShortCall(text));
  },
}));
vi.spyOn(performance, 'now').mockImplementation(() => clock.nowMs);

const SEEDS = parseInt(process.env.FAREGATE_SIMULATION_SEEDS ?? '500', 10);
const FIRST_SEED = parseInt(process.env.FAREGATE_SIMULATION_FROM ?? '1', 10);
const ACCOUNT = 'acct_simulated';
const DEPOSIT = 2_000n;
const STEPS_MAX = 60;

const turn = () => new Promise((resolve) => setImmediate(resolve));

interface Life {
  readonly instance: LedgerInstance;
  readonly client: Client;
  readonly ended: PromiseWithResolvers<void>;
}

interface Open {
  readonly hold: Hold;
  /** Usage only grows. */
  tokens: number;
  /** What the call may be charged: whatever was ever noted of it. */
  readonly noted: Set<bigint>;
}

class Simulation {
  readonly #random: Random;
  readonly #database: SimulatedDatabase;
  readonly #level: 'page' | 'disk';
  #life: Life | null = null;
  readonly #open: Open[] = [];
  readonly #noted = new Map<string, Set<bigint>>();
  readonly #acknowledged = new Map<string, bigint>();
  /** Something happened after which the best ledger can have lost what it acknowledged, but must not hide it. */
  #mayLose = false;
  #reclaimed = false;
  flips = 0;
  damageReports = 0;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
    this.#level = this.#random() < 0.5 ? 'page' : 'disk';
    this.#database = new SimulatedDatabase(this.#random);
    world.database = this.#database;
    disk.format(this.#random);
    this.#database.deposit(ACCOUNT, DEPOSIT);
  }

  async run(): Promise<void> {
    disk.faults.lies = this.#random() < 0.1;
    disk.faults.torn = () => void this.#end(disk.killProcess);
    for (let left = randomInteger(this.#random, 10, STEPS_MAX); left > 0; left--) await this.#step();
    this.#database.away = false;
    this.#database.faultShare = 0;
    disk.faults.tearNextPpm = null;
    await this.#start();
    await this.#life?.instance.close();
    this.#judge();
  }

  async #step(): Promise<void> {
    if (this.#life === null) {
      this.#misfortune();
      return this.#start();
    }
    const { instance } = this.#life;
    const dice = this.#random();
    if (dice < 0.3) await this.#begin(instance);
    else if (dice < 0.75) this.#use();
    else if (dice < 0.85) await turn();
    else if (dice < 0.88) this.#database.away = !this.#database.away;
    else if (dice < 0.92) this.#database.faultShare = this.#random() < 0.5 ? 0.3 : 0;
    else if (dice < 0.94) disk.faults.tearNextPpm = randomInteger(this.#random, 0, 1_000_000);
    else if (dice < 0.96) this.#end(disk.killProcess);
    else if (dice < 0.98) this.#end(() => this.#loseMachine());
    else if (!this.#database.away) {
      const life = this.#life;
      await Promise.race([instance.close(), life.ended.promise]);
      if (this.#life === life) this.#forget();
    }
  }

  /** Something that happens while nobody runs. */
  #misfortune(): void {
    this.#database.away = false;
    const dice = this.#random();
    if (dice < 0.15) this.flips += disk.flipBit(this.#random) ? 1 : 0;
    else if (dice < 0.3) disk.duplicateSegment(this.#random);
    else if (dice < 0.45) {
      this.#database.returnLeases();
      this.#reclaimed = true;
      if (this.#random() < 0.5) this.#database.spendElsewhere(ACCOUNT);
    }
  }

  #loseMachine(): void {
    disk.loseMachine(this.#random);
    if (this.#level === 'page' || disk.faults.lies) this.#mayLose = true;
  }

  async #start(): Promise<void> {
    if (this.#life !== null) return;
    const client = this.#connect();
    const note = (fields: { damage?: readonly Damage[] }) => {
      if (fields.damage?.some(({ kind }) => kind === 'corrupt')) this.damageReports += 1;
    };
    const directory = { path: '/journal', id: 'inst_simulated', unlock: () => {} };
    const options = { directory, ack: this.#level, now: () => clock.nowMs, holdExpiryMs: 60_000 };
    const instance = await openInstance({ ...options, sql: client as never, log: { warn: note, error: note } }).catch(
      () => null,
    );
    if (instance !== null) this.#life = { instance, client, ended: Promise.withResolvers() };
  }

  /** As much of a client as instance.ts needs. */
  #connect(): Client {
    const epoch = () => this.#database.run(client, () => [{ epoch: this.#database.nextEpoch('inst_simulated') }]);
    const client = Object.assign(epoch, { dead: false, listen: async () => ({ unlisten: async () => {} }) });
    return client;
  }

  async #begin({ holds }: LedgerInstance): Promise<void> {
    const amount = BigInt(randomInteger(this.#random, 1, 300));
    const callId = uuidv7();
    const hold = await holds.hold({ callId, accountId: ACCOUNT, keyId: 'key', amount });
    if ('code' in hold || this.#life === null) return;
    const noted = new Set<bigint>();
    this.#noted.set(callId, noted);
    this.#open.push({ hold, tokens: 0, noted });
    hold.open(closing(0, { streamed: true }));
    noted.add(0n);
  }

  #use(): void {
    const at = Math.floor(this.#random() * this.#open.length);
    const call = this.#open[at];
    if (call === undefined) return;
    const { hold, noted } = call;
    const tokens = call.tokens + randomInteger(this.#random, 0, 120);
    call.tokens = tokens;
    const cost = BigInt(tokens) < hold.amount ? BigInt(tokens) : hold.amount;
    noted.add(cost);
    if (this.#random() < 0.4) {
      hold.progress(closing(tokens));
      return;
    }
    this.#open.splice(at, 1);
    const life = this.#life;
    void hold.capture(closing(tokens)).then(() => {
      if (this.#life === life && life?.client.dead === false) this.#acknowledged.set(hold.callId, hold.charged);
    });
  }

  #end(how: (random: Random) => void): void {
    const life = this.#life;
    if (life === null) return;
    how(this.#random);
    life.client.dead = true;
    life.instance.settler.stop();
    life.ended.resolve();
    this.#forget();
    void life.instance.close().catch(() => {});
  }

  #forget(): void {
    this.#life = null;
    this.#open.length = 0;
    disk.killProcess();
  }

  #judge(): void {
    const { calls, balances, exceptions, violations } = this.#database;
    if (violations.length > 0) throw new Error(violations.join('; '));
    const silent = this.damageReports === 0 && !this.#mayLose;
    for (const [id, charged] of this.#acknowledged) {
      const settled = calls.get(id) ?? 0n;
      if (settled > charged || (settled < charged && silent)) {
        throw new Error(`${id} was acknowledged at ${charged} and is settled at ${settled}`);
      }
    }
    for (const [id, charged] of calls) {
      if (!this.#noted.get(id)?.has(charged)) throw new Error(`${id} is charged ${charged}, which nobody noted`);
    }
    for (const [id, balance] of balances) {
      if (id.startsWith('lse_') && balance !== 0n) throw new Error(`${id} still holds ${balance}`);
    }
    if (!this.#reclaimed && exceptions.size > 0) throw new Error('an exception without a lease that was reclaimed');
  }
}

test(`${SEEDS} seeds of crashes, torn writes, lost syncs, flipped bits, copied segments and late adoption: nothing is lost, doubled or hidden`, async () => {
  let [flips, reports] = [0, 0];
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
    const simulation = new Simulation(seed);
    await simulation.run().catch((error: unknown) => {
      throw new Error(`seed ${seed}`, { cause: error });
    });
    flips += simulation.flips;
    reports += simulation.damageReports;
  }
  // The simulation itself must not be asleep.
  expect(flips).toBeGreaterThan(SEEDS / 50);
  expect(reports).toBeGreaterThan(SEEDS / 50);
}, 3_600_000);
