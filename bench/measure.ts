/** Runs workloads over rows in interleaved rounds and checks the books after every run. */
import type { ChildProcess } from 'node:child_process';
import type { Progress } from '../workers/progress.ts';
import type { Job, Latencies, Loaded } from './job.ts';
import type { Child } from './processes.ts';
import { type Run, runJob } from './runs.ts';
import type { Row, Workload } from './workloads.ts';
import { CALL_NANOUSD, type World } from './world.ts';

export interface Plan {
  readonly workloads: readonly Workload[];
  readonly rounds: number;
  readonly runMs: number;
  /** Before the first round each row runs as long as this, for the compiler. */
  readonly firstMs: number;
}

/** Medians of the rounds. */
export interface Result {
  readonly workload: string;
  readonly row: Row;
  readonly perSecond: number;
  /** CPU microseconds per call or frame; null where there is none to tell. */
  readonly cpuUs: number | null;
  /** The least of all rounds: what the machine's other work has added least to. */
  readonly leastCpuUs: number | null;
  readonly whole: Latencies;
  readonly firstContent: Latencies;
}

/** A row's process; money when its calls are charged. */
export interface Target {
  readonly child: Child;
  readonly keys: readonly string[];
  readonly money: boolean;
  readonly receipts: boolean;
}

const RAMP_MS = 300;
/** Streams begin spread over the time that one takes. */
const STREAM_RAMP_MS = 1_500;

export class Bench {
  readonly #world: World;
  readonly #generator: ChildProcess;
  readonly #targets: ReadonlyMap<Row, Target>;
  readonly #progress: Progress;
  #settled = { calls: 0, complete: 0 };

  constructor(world: World, generator: ChildProcess, targets: ReadonlyMap<Row, Target>, progress: Progress) {
    this.#world = world;
    this.#generator = generator;
    this.#targets = targets;
    this.#progress = progress;
  }

  /** Throws when a call is lost, wrongly charged, or the books do not balance. */
  async run({ workloads, rounds, runMs, firstMs }: Plan): Promise<Result[]> {
    const results: Result[] = [];
    for (const workload of workloads) {
      const runs = new Map<Row, Run[]>(workload.rows.map((row) => [row, []]));
      const slowest = results.filter(({ workload: name }) => name === workloads[0]?.name);
      this.#progress.step(workload.name);
      for (let round = 0; round <= rounds; round++) {
        for (const [row, done] of runs) {
          this.#progress.detail(`${row}, ${round === 0 ? 'warming up' : `round ${round} of ${rounds}`}`);
          const run = await this.#once(workload, row, round === 0 ? firstMs : runMs, rateOf(workload, slowest));
          if (round > 0) done.push(run);
        }
      }
      for (const [row, done] of runs) results.push(summarise(workload, row, done));
    }
    return results;
  }

  async #once(workload: Workload, row: Row, runMs: number, perSecond: number | null): Promise<Run> {
    const target = this.#targets.get(row);
    if (target === undefined) throw new Error(`no ${row}`);
    const { body, stream, connections, abortShare } = workload;
    const job: Job = {
      ...{ body, stream, connections, abortShare, perSecond, runMs },
      url: target.child.url,
      keys: target.keys,
      receipts: target.receipts,
      warmMs: stream ? STREAM_RAMP_MS : RAMP_MS,
    };
    const run = await runJob(this.#generator, target.child, job);
    if (target.money) await this.#checkBooks(run.loaded);
    return run;
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
    p50: middle((run) => of(run).p50),
    p90: middle((run) => of(run).p90),
    p99: middle((run) => of(run).p99),
    max: middle((run) => of(run).max),
  });
  const told = row !== 'direct' && unitsPerCall !== null;
  const cpuUs = told ? runs.map((run) => run.cpuUs / run.loaded.calls / unitsPerCall) : null;
  return {
    workload: name,
    row,
    perSecond: middle(({ loaded }) => loaded.calls / loaded.seconds),
    cpuUs: cpuUs === null ? null : median(cpuUs),
    leastCpuUs: cpuUs === null ? null : Math.min(...cpuUs),
    whole: latencies(({ loaded }) => loaded.whole),
    firstContent: latencies(({ loaded }) => loaded.firstContent),
  };
}

/** The middle value; the lower one of the two middle ones. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[(sorted.length - 1) >> 1] ?? 0;
}
