/**
 * The load generator, a process of its own. Closed loop: every connection asks again as soon as it was answered; that finds the
 * capacity and the CPU per call. Open loop: calls are due at random moments of a given rate, wait for a free connection when
 * there is none, and their latency counts from when they were due, so that a stall is felt by every call that it delays.
 */
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';
import { Caller, clockMs, type Outcome } from './caller.ts';
import type { Job, Latencies, Loaded, Report } from './job.ts';

/** How long the calls under way may take to end after the time. */
const ENDING_MS = 30_000;
const PAUSE_AFTER_FAILURE_MS = 10;

class Load {
  readonly #job: Job;
  readonly #whole = createHistogram({ figures: 3 });
  readonly #firstContent = createHistogram({ figures: 3 });
  readonly #idle: Caller[] = [];
  readonly #due: number[] = [];
  #phase: 'warm' | 'counting' | 'ending' = 'warm';
  #underWay = 0;
  #calls = 0;
  #allCalls = 0;
  #allAborted = 0;
  #bytes = 0;
  #failures = 0;
  #firstFailure: string | null = null;
  #ended: () => void = () => {};

  constructor(job: Job) {
    this.#job = job;
  }

  async run(): Promise<Loaded> {
    const { warmMs, runMs, perSecond } = this.#job;
    const pacer = perSecond === null ? null : this.#startPacer(perSecond, clockMs() + warmMs + runMs);
    for (let index = 0; index < this.#job.connections; index++) this.#open(index);
    await wait(warmMs);
    this.#phase = 'counting';
    report({ event: 'counting' });
    const startMs = clockMs();
    await wait(runMs);
    this.#phase = 'ending';
    const seconds = (clockMs() - startMs) / 1_000;
    report({ event: 'counted' });
    await pacer?.terminate();
    await this.#untilEnded();
    for (const caller of this.#idle) caller.close();
    return {
      calls: this.#calls,
      allCalls: this.#allCalls,
      allAborted: this.#allAborted,
      bytes: this.#bytes,
      seconds,
      whole: latencies(this.#whole),
      firstContent: latencies(this.#firstContent),
      failures: this.#failures,
      firstFailure: this.#firstFailure,
    };
  }

  /** Connections begin spread over the warm-up: streams that beat in step would be a load that nobody has. */
  #open(index: number): void {
    const { url, keys, headers, body, stream, receipts, connections, warmMs, perSecond } = this.#job;
    const key = keys.length === 0 ? null : (keys[index % keys.length] ?? null);
    const caller: Caller = new Caller({ url, key, headers, body, stream, receipts }, (outcome) =>
      this.#note(caller, outcome),
    );
    if (perSecond === null) setTimeout(() => this.#ask(caller, clockMs()), (index / connections) * warmMs * 0.8);
    else this.#idle.push(caller);
  }

  #ask(caller: Caller, dueMs: number): void {
    this.#underWay++;
    caller.call(dueMs, Math.random() < this.#job.abortShare);
  }

  #startPacer(perSecond: number, untilMs: number): Worker {
    const pacer = new Worker(new URL('./pacer.ts', import.meta.url), { workerData: { perSecond, untilMs } });
    pacer.on('message', (dueMs: number) => {
      const caller = this.#idle.shift();
      if (caller === undefined) this.#due.push(dueMs);
      else this.#ask(caller, dueMs);
    });
    return pacer;
  }

  #note(caller: Caller, outcome: Outcome): void {
    this.#underWay--;
    this.#count(outcome);
    if (this.#phase === 'ending') {
      this.#idle.push(caller);
      if (this.#underWay === 0) this.#ended();
    } else if (outcome.failure !== null) setTimeout(() => this.#next(caller), PAUSE_AFTER_FAILURE_MS);
    else this.#next(caller);
  }

  #next(caller: Caller): void {
    if (this.#phase === 'ending') return void this.#idle.push(caller);
    const dueMs = this.#job.perSecond === null ? clockMs() : this.#due.shift();
    if (dueMs === undefined) this.#idle.push(caller);
    else this.#ask(caller, dueMs);
  }

  #count(outcome: Outcome): void {
    if (outcome.failure !== null) {
      this.#failures++;
      this.#firstFailure ??= outcome.failure;
      return;
    }
    if (outcome.aborted) this.#allAborted++;
    else this.#allCalls++;
    if (this.#phase !== 'counting') return;
    this.#bytes += outcome.bytes;
    this.#firstContent.record(nanoseconds(outcome.firstContentMs - outcome.dueMs));
    if (outcome.aborted) return;
    this.#calls++;
    this.#whole.record(nanoseconds(outcome.endMs - outcome.dueMs));
  }

  async #untilEnded(): Promise<void> {
    if (this.#underWay === 0) return;
    await Promise.race([
      new Promise<void>((resolve) => {
        this.#ended = resolve;
      }),
      wait(ENDING_MS).then(() => {
        throw new Error(`${this.#underWay} calls did not end`);
      }),
    ]);
  }
}

function latencies(histogram: RecordableHistogram): Latencies {
  if (histogram.count === 0) return { mean: 0, p50: 0, p90: 0, p99: 0, max: 0 };
  const us = (ns: number) => Math.round(ns / 100) / 10;
  const at = (percentile: number) => us(histogram.percentile(percentile));
  return { mean: us(histogram.mean), p50: at(50), p90: at(90), p99: at(99), max: at(100) };
}

function nanoseconds(ms: number): number {
  return Math.max(1, Math.round(ms * 1e6));
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function report(message: Report): void {
  process.send?.(message);
}

// Must not outlive the bench that began it.
process.on('disconnect', () => process.exit(1));
process.on('message', (job: Job) => {
  void new Load(job).run().then(
    (loaded) => report({ event: 'done', loaded }),
    (error) => {
      process.stderr.write(`${String(error)}\n`);
      process.exit(1);
    },
  );
});
