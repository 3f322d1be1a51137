/** One run: a trace, a policy, eight unequal workers on three continents (research on routing, §4.4). */
import { Clock } from './clock.ts';
import { Engine, type Machine } from './engine.ts';
import type { Policy, Site, World } from './policies.ts';
import { Chance } from './random.ts';
import type { TraceCall } from './trace.ts';

const classes = {
  large: { prefillPerSecond: 20_000, stepMs: 10, perRunningMs: 0.25, slots: 64, cacheTokens: 4_600_000 },
  medium: { prefillPerSecond: 12_000, stepMs: 14, perRunningMs: 0.35, slots: 48, cacheTokens: 3_100_000 },
  small: { prefillPerSecond: 5_000, stepMs: 22, perRunningMs: 0.8, slots: 32, cacheTokens: 1_500_000 },
} as const satisfies Record<string, Machine>;

/** Three continents, seen from one gateway. */
export const sites: readonly { rttMs: number; machine: Machine }[] = [
  { rttMs: 12, machine: classes.large },
  { rttMs: 12, machine: classes.medium },
  { rttMs: 12, machine: classes.small },
  { rttMs: 90, machine: classes.large },
  { rttMs: 90, machine: classes.medium },
  { rttMs: 90, machine: classes.small },
  { rttMs: 220, machine: classes.large },
  { rttMs: 220, machine: classes.medium },
];

/** What is good enough: first content within two seconds, and 50 ms for each token after that. */
const TTFT_LIMIT_MS = 2_000;
const TOKEN_LIMIT_MS = 50;

export interface Outcome {
  readonly calls: number;
  readonly shed: number;
  readonly ttftP50Ms: number;
  readonly ttftP99Ms: number;
  /** Share of all calls that met the limits; short answers are judged by their deadline as a whole. */
  readonly goodput: number;
  /** Share of the prompt tokens that were in a cache. */
  readonly cachedShare: number;
  /** Of the prediction of the first content; null where nothing was predicted. */
  readonly errorP50: number | null;
}

export interface Scene {
  /** Other workers than the usual ones. */
  readonly workers?: typeof sites;
  /** A worker that is so many times slower for a while. */
  readonly slow?: { readonly index: number; readonly fromMs: number; readonly untilMs: number; readonly times: number };
  /** Only calls that arrive then are counted. */
  readonly from?: number;
  readonly until?: number;
  /** Told of the first content of each call that is counted. */
  readonly onFirst?: (ttftMs: number) => void;
}

export function isInTime(ttftMs: number, totalMs: number, outputTokens: number): boolean {
  return ttftMs <= TTFT_LIMIT_MS && totalMs <= TTFT_LIMIT_MS + TOKEN_LIMIT_MS * outputTokens;
}

export function simulate(
  trace: readonly TraceCall[],
  build: (world: World) => Policy,
  seed: number,
  scene: Scene = {},
): Outcome {
  const clock = new Clock();
  const placed: Site[] = (scene.workers ?? sites).map(({ rttMs, machine }, index) => {
    return { index, rttMs, slots: machine.slots, engine: new Engine(machine, clock.at) };
  });
  const policy = build({ sites: placed, chance: new Chance(seed), ...timeOf(clock, trace.at(-1)?.atMs ?? 0) });
  const { slow, from = 0, until = Number.POSITIVE_INFINITY } = scene;
  if (slow !== undefined) slowDown(clock, placed[slow.index], slow);
  const counted = new Tally(scene.onFirst);
  const uncounted = new Tally();
  let calls = 0;
  for (const call of trace) {
    const counts = call.atMs >= from && call.atMs < until;
    if (counts) calls++;
    clock.at(call.atMs, () => place(clock, policy, call, counts ? counted : uncounted));
  }
  clock.run();
  return counted.outcome(calls);
}

function timeOf(clock: Clock, endMs: number): Pick<World, 'now' | 'later' | 'every'> {
  const later = (ms: number, act: () => void) => clock.at(clock.nowMs + ms, act);
  const every = (ms: number, act: () => void) =>
    later(ms, () => {
      act();
      if (clock.nowMs < endMs) every(ms, act);
    });
  return { now: () => clock.nowMs, later, every };
}

function slowDown(clock: Clock, site: Site | undefined, { fromMs, untilMs, times }: NonNullable<Scene['slow']>): void {
  if (site === undefined) return;
  clock.at(fromMs, () => {
    site.engine.slowness = times;
  });
  clock.at(untilMs, () => {
    site.engine.slowness = 1;
  });
}

function place(clock: Clock, policy: Policy, call: TraceCall, tally: Tally): void {
  const placed = policy(call);
  if (placed === null) return;
  const { site } = placed;
  const wayMs = site.rttMs / 2;
  let firstMs = 0;
  const job = {
    ...call,
    onFirst: (nowMs: number, cachedTokens: number) =>
      clock.at(nowMs + wayMs, () => {
        firstMs = clock.nowMs - call.atMs;
        placed.onFirst(firstMs);
        tally.first(call, firstMs, cachedTokens, placed.predictedTtftMs);
      }),
    onEnd: (nowMs: number) =>
      clock.at(nowMs + wayMs, () => {
        const elapsedMs = clock.nowMs - call.atMs;
        placed.onEnd(elapsedMs, firstMs);
        tally.end(call, firstMs, elapsedMs);
      }),
  };
  clock.at(clock.nowMs + wayMs, () => site.engine.submit(job, clock.nowMs));
}

class Tally {
  readonly #firstMs: number[] = [];
  readonly #errors: number[] = [];
  #good = 0;
  #cached = 0;
  #input = 0;
  readonly #onFirst: (ttftMs: number) => void;

  constructor(onFirst: (ttftMs: number) => void = () => {}) {
    this.#onFirst = onFirst;
  }

  first({ inputTokens }: TraceCall, ms: number, cachedTokens: number, predictedMs: number | undefined): void {
    this.#firstMs.push(ms);
    this.#onFirst(ms);
    this.#cached += cachedTokens;
    this.#input += inputTokens;
    if (predictedMs !== undefined) this.#errors.push(Math.abs(ms - predictedMs) / predictedMs);
  }

  end({ outputTokens }: TraceCall, firstMs: number, elapsedMs: number): void {
    if (isInTime(firstMs, elapsedMs, outputTokens)) this.#good += 1;
  }

  outcome(calls: number): Outcome {
    return {
      calls,
      shed: calls - this.#firstMs.length,
      ttftP50Ms: quantile(this.#firstMs, 0.5),
      ttftP99Ms: quantile(this.#firstMs, 0.99),
      goodput: this.#good / calls,
      cachedShare: this.#cached / this.#input,
      errorP50: this.#errors.length === 0 ? null : quantile(this.#errors, 0.5),
    };
  }
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}
