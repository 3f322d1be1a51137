/** Runs workloads over rows in interleaved rounds and checks the books after every run. */
import type { ChildProcess } from 'node:child_process';
import type { Progress } from '../workers/progress.ts';
import type { Job, Latencies, Loaded } from './job.ts';
import type { Measured } from './processes.ts';
import { type Run, runJob } from './runs.ts';
import { isPeer, type PeerRow, type Row, type Workload } from './workloads.ts';
import { CALL_NANOUSD, type World } from './world.ts';

export interface Plan {
  readonly workloads: readonly Workload[];
  readonly rounds: number;
  readonly runMs: number;
  /** Before the first round each row runs as long as this, for the compiler. */
  readonly firstMs: number;
}

/** Medians of the rounds. */
export interface Result extends Round {
  readonly workload: string;
  readonly row: Row;
  readonly perSecond: number;
  readonly whole: Latencies;
  /** In their order: rows are compared within a round, as what slows the machine for a while slows both. */
  readonly rounds: readonly Round[];
}

/** What is compared. */
export interface Round {
  /** CPU microseconds per call or frame; null where there is none to tell. */
  readonly cpuUs: number | null;
  readonly firstContent: Latencies;
}

/** A row's process; money when its calls are charged. */
export interface Target {
  readonly child: Measured;
  readonly keys: readonly string[];
  readonly money: boolean;
  readonly receipts: boolean;
  readonly headers?: Readonly<Record<string, string>>;
  /** Put before the name of the model. */
  readonly modelPrefix?: string;
}

/** Another gateway that does not do a workload: its row is left out. */
export interface Lost {
  readonly row: PeerRow;
  readonly workload: string;
  readonly why: string;
}

interface How {
  readonly target: Target | undefined;
  readonly runMs: number;
  readonly perSecond: number | null;
}

const RAMP_MS = 300;
/** Streams begin spread over the time that one takes. */
const STREAM_RAMP_MS = 1_500;

export class Bench {
  readonly #world: World;
  readonly #generator: ChildProcess;
  readonly #targets: ReadonlyMap<Row, Target>;
  readonly #progress: Progress;
  readonly lost: Lost[] = [];
  #settled = { calls: 0, complete: 0 };

  constructor(world: World, generator: ChildProcess, targets: ReadonlyMap<Row, Target>, progress: Progress) {
    this.#world = world;
    this.#generator = generator;
    this.#targets = targets;
    this.#progress = progress;
  }

  /** Throws when a call of ours is lost, wrongly charged, or the books do not balance. */
  async run({ workloads, rounds, runMs, firstMs }: Plan, targets = this.#targets): Promise<Result[]> {
    const results: Result[] = [];
    for (const workload of workloads) {
      const runs = new Map<Row, Run[]>(workload.rows.map((row) => [row, []]));
      const slowest = results.filter(({ workload: name }) => name === workloads[0]?.name);
      this.#progress.step(workload.name);
      const count = rounds * workload.parts;
      for (let round = 0; round <= count; round++) {
        for (const [row, done] of runs) {
          this.#progress.detail(`${row}, ${round === 0 ? 'warming up' : `round ${round} of ${count}`}`);
          const run = await this.#once(workload, row, {
            target: targets.get(row),
            runMs: round === 0 ? firstMs : (runMs * workload.runTimes) / workload.parts,
            perSecond: rateOf(workload, slowest),
          });
          if (run === null) runs.delete(row);
          else if (round > 0) done.push(run);
        }
      }
      for (const [row, done] of runs) results.push(summarise(workload, row, done));
    }
    return results;
  }

  /** Null when another gateway lost a call. */
  async #once({ name, body, stream, connections, abortShare }: Workload, row: Row, how: How): Promise<Run | null> {
    const { target, runMs, perSecond } = how;
    if (target === undefined) throw new Error(`no ${row}`);
    const job: Job = {
      ...{ stream, connections, abortShare, perSecond, runMs },
      body: body.replace('"model":"', `"model":"${target.modelPrefix ?? ''}`),
      url: target.child.url,
      keys: target.keys,
      headers: target.headers ?? {},
      receipts: target.receipts,
      warmMs: stream ? STREAM_RAMP_MS : RAMP_MS,
    };
    try {
      const run = await runJob(this.#generator, target.child, job);
      if (target.money) await this.#checkBooks(run.loaded);
      return run;
    } catch (error) {
      if (!isPeer(row)) throw error;
      this.lost.push({ row, workload: name, why: error instanceof Error ? error.message : String(error) });
      return null;
    }
  }

  async #checkBooks({ allCalls, allAborted }: Loaded): Promise<void> {
    const expected = this.#settled.calls + allCalls + allAborted;
    const books = await this.#world.books(expected);
    if (books.calls !== expected) throw new Error(`${expected} calls were made, and ${books.calls} are settled`);
    if (books.complete < this.#settled.complete + allCalls)
      throw new Error('a complete call is not settled as complete');
    if (books.completeNanousd !== BigInt(books.complete) * CALL_NANOUSD) {
      throw new Error(`${books.complete} calls were charged ${books.completeNanousd} nano-USD`);
    }
    this.#settled = books;
  }
}

function rateOf({ share, rows }: Workload, closed: readonly Result[]): number | null {
  if (share === null) return null;
  return share * Math.min(...closed.filter(({ row }) => rows.includes(row)).map(({ perSecond }) => perSecond));
}

function summarise({ name, unitsPerCall }: Workload, row: Row, runs: readonly Run[]): Result {
  const middle = (of: (run: Run) => number) => median(runs.map(of));
  const latencies = (of: (run: Run) => Latencies) => ({
    mean: middle((run) => of(run).mean),
    p50: middle((run) => of(run).p50),
    p90: middle((run) => of(run).p90),
    p99: middle((run) => of(run).p99),
    max: middle((run) => of(run).max),
  });
  const rounds = runs.map(({ loaded, cpuUs }) => ({
    cpuUs: cpuUs === null || row === 'direct' || unitsPerCall === null ? null : cpuUs / loaded.calls / unitsPerCall,
    firstContent: loaded.firstContent,
  }));
  const cpuUs = rounds.map((round) => round.cpuUs).filter((us) => us !== null);
  return {
    workload: name,
    row,
    perSecond: middle(({ loaded }) => loaded.calls / loaded.seconds),
    cpuUs: cpuUs.length === 0 ? null : median(cpuUs),
    whole: latencies(({ loaded }) => loaded.whole),
    firstContent: latencies(({ loaded }) => loaded.firstContent),
    rounds,
  };
}

/** The middle value; the lower one of the two middle ones. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[(sorted.length - 1) >> 1] ?? 0;
}
