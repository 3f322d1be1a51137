/**
 * Which worker serves this call: hard filters first, each with a name, then the lowest predicted cost in time. Synchronous from the look at
 * the counts to the reservation, so that a burst in one turn spreads. Formulas: research on routing, §2.1 and §2.4.
 */
import { Candidates } from './candidates.ts';
import type { Fleet } from './fleet.ts';
import { anyPolicy, type Policy, permits, type Sort } from './policy.ts';
import {
  blankPrediction,
  type Conditions,
  neutralSpeed,
  type Prediction,
  type Speed,
  USUAL_SPEED,
  type Work,
  type Writable,
} from './predict.ts';
import { type Prefix, shareOf } from './prefix.ts';
import { type Constraint, type Refusal, refusal } from './refusal.ts';
import type { Reservation } from './reservation.ts';
import type { ModelKind, Worker, WorkerRecord } from './worker.ts';

/** What a call asks of a worker. */
export interface Need {
  readonly model: string;
  /** What the model must do; absent: whatever. */
  readonly kind?: ModelKind;
  /** Prompt bound + longest output. */
  readonly tokensMax: number;
  readonly promptTokens: number;
  /** Expected length of one answer. */
  readonly outputTokens: number;
  /** Generations the call runs at once: n x prompts, or embedding inputs. */
  readonly sequences: number;
  /** Whether its first content can be seen before its end. */
  readonly showsContent: boolean;
  readonly prefix: Prefix | null;
  readonly policy: Policy;
  /** Worker ids that must not serve it (any more). */
  readonly exclude: ReadonlySet<string>;
  /** Tried before: others, best of other operators, are preferred. */
  readonly tried?: readonly { readonly worker: string; readonly operator: string }[];
}

/** A worker was chosen, and its places are taken. */
export interface Choice {
  readonly kind: 'choice';
  readonly reservation: Reservation;
  readonly candidates: Candidates;
}

/** Calls per slot above which a worker takes no more: the rest would wait in its queue longer than anybody likes. */
const CALLS_PER_SLOT_MAX = 8;
/** Of a model's slots, the share that breakers may eject; beyond it they are overruled: a bad worker beats none. */
const EJECTED_SHARE_MAX = 0.5;
/** Scores this near to the best are as good as it. */
const TIE_SHARE = 0.02;
const TIE_MS = 5;
/** Of the damage that a prompt does to the answers being written beside it, the share that its call is charged. */
const INTERFERENCE = 0.2;

/** What counts how much in a score. */
const weights: Readonly<Record<Sort, { first: number; rest: number }>> = {
  latency: { first: 1, rest: 1 },
  price: { first: 1, rest: 1 },
  ttft: { first: 1, rest: 0 },
  throughput: { first: 0, rest: 1 },
};

/** Chooses and reserves, or says which constraint left nobody. */
export function pick(fleet: Fleet, need: Need): Choice | Refusal {
  const nowMs = fleet.now();
  const candidates = look(fleet, need);
  const tried = need.tried ?? [];
  // A call that was let in and failed somewhere is not turned away half way.
  if (tried.length === 0) fleet.overload.shed(need.model, candidates, nowMs);
  const chosen = candidates.at(best(candidates, preferred(candidates, tried), fleet.random));
  if (chosen === null || chosen.prediction === null) return refusal(candidates, need, nowMs, fleet);
  const { worker, prediction, cachedTokens } = chosen;
  const { model, prefix, showsContent } = need;
  const call = { model, work: workOf(need, cachedTokens), prediction, cachedTokens, prefix, showsContent };
  if (prefix !== null) fleet.onSent?.(worker, prefix, worker.mirror.knownBlocks(prefix));
  const reservation = worker.reserve(call, nowMs);
  fleet.candidates.note(fleet.pool(model), prefix, worker);
  return { kind: 'choice', reservation, candidates };
}

/** What there is to choose from: every worker of the model, or of a large pool a part, with its prediction or the reason of its refusal. */
export function look(fleet: Fleet, need: Need): Candidates {
  const pool = fleet.pool(need.model);
  const workers = fleet.candidates.of(pool, need.prefix);
  // A part of a large pool is asked one by one: the cost of a choice must not grow with the pool.
  const known = need.prefix === null || workers !== pool ? null : fleet.prefixes.knownBlocks(need.prefix);
  const judge = new Judge(fleet, need, known);
  const candidates = new Candidates(workers);
  let at = 0;
  for (const worker of workers) judge.judge(worker, candidates, at++);
  return candidates;
}

function workOf({ promptTokens, outputTokens, sequences }: Need, cachedTokens: number): Work {
  return { uncachedTokens: promptTokens - cachedTokens, outputTokens, sequences };
}

/** Looks at one worker after the other with what is the same for all of them. */
class Judge {
  readonly #need: Need;
  /** Blocks of the prompt that each worker knows, where all were looked up at once. */
  readonly #known: Int32Array | null;
  readonly #nowMs: number;
  readonly #othersTimes: number;
  readonly #neutral: Speed;
  /** Used for one worker after the other. */
  readonly #conditions: Writable<Conditions>;
  readonly #prediction = blankPrediction();
  /** What most workers have to do: those that know nothing of the prompt. */
  readonly #freshWork: Work;
  readonly #contextMin: number;
  readonly #panic: boolean;
  /** Nobody is ruled out by wishes or earlier attempts. */
  readonly #isFree: boolean;

  constructor(fleet: Fleet, need: Need, known: Int32Array | null) {
    this.#need = need;
    this.#known = known;
    this.#nowMs = fleet.now();
    this.#othersTimes = fleet.othersTimes;
    this.#freshWork = workOf(need, 0);
    this.#neutral = neutralSpeed(fleet.pool(need.model), need.model);
    this.#conditions = { neutral: this.#neutral, distanceMs: 0, nowMs: this.#nowMs };
    this.#isFree = need.policy === anyPolicy && need.exclude.size === 0;
    this.#panic = isPanic(fleet.pool(need.model), this.#nowMs);
    // The bound on a call's tokens counts bytes and may be several times too high, so it must not refuse what would fit: where no worker is
    // long enough for it, those with the longest context are asked, and the engine itself knows whether it fits.
    this.#contextMin = Math.min(need.tokensMax, fleet.longestContext(need.model));
  }

  /** Fills the worker's row. */
  judge(worker: Worker, candidates: Candidates, at: number): void {
    const refused = this.#refuses(worker);
    if (refused !== null) {
      candidates.refuse(at, refused);
      return;
    }
    const { model, policy } = this.#need;
    const cachedTokens = this.#cachedTokens(worker);
    const work = cachedTokens === 0 ? this.#freshWork : workOf(this.#need, cachedTokens);
    const load = worker.loadAt(this.#nowMs, this.#othersTimes);
    this.#conditions.neutral = this.#strangerSpeed(worker);
    this.#conditions.distanceMs = worker.times.distanceMs(this.#nowMs);
    const prediction = worker.times.of(model).predict(work, load, this.#conditions, this.#prediction);
    const { first, rest } = weights[policy.sort];
    const { ttftMs, totalMs, delayMs } = prediction;
    const score = first * ttftMs + rest * (totalMs - ttftMs) + INTERFERENCE * delayMs;
    candidates.note(at, prediction, cachedTokens, score);
    const slow = tooSlow(prediction, policy);
    if (slow !== null) candidates.refuse(at, slow);
  }

  #cachedTokens({ mirror }: Worker): number {
    const { prefix, promptTokens } = this.#need;
    if (prefix === null) return 0;
    const blocks = this.#known?.[mirror.place] ?? mirror.knownBlocks(prefix);
    return Math.floor(promptTokens * shareOf(prefix, blocks));
  }

  /** As fast as declared, where the others are. */
  #strangerSpeed({ declared }: Worker): Speed {
    if (declared === USUAL_SPEED) return this.#neutral;
    const { prefill, decode } = this.#neutral;
    return { prefill: prefill * declared.prefill, decode: decode * declared.decode };
  }

  #refuses(worker: Worker): Constraint | null {
    const { model, kind, sequences } = this.#need;
    if (!worker.has(model, this.#nowMs)) return 'model';
    if (worker.contextOf(model) < this.#contextMin) return 'context';
    if (kind !== undefined && (worker.kinds.get(model) ?? kind) !== kind) return 'endpoint';
    const ruledOut = this.#isFree ? null : this.#rulesOut(worker.record);
    if (ruledOut !== null && ruledOut !== 'tried') return ruledOut;
    if (!worker.serves) return 'state';
    if (ruledOut !== null) return ruledOut;
    if (!this.#panic && !worker.breaker.admits(this.#nowMs)) return 'ejected';
    return hasRoom(worker, sequences, this.#nowMs) ? null : 'load';
  }

  #rulesOut({ id, operator, country }: WorkerRecord): Constraint | null {
    const { policy, exclude } = this.#need;
    if (!permits(policy.operators, operator)) return 'operator';
    if (!permits(policy.workers, id)) return 'worker';
    if (!permits(policy.countries, country)) return 'country';
    return exclude.has(id) ? 'tried' : null;
  }
}

function tooSlow({ ttftMs, totalMs }: Prediction, { maxTtftMs, deadlineMs }: Policy): Constraint | null {
  if (maxTtftMs !== null && ttftMs > maxTtftMs) return 'max_ttft_ms';
  return deadlineMs !== null && totalMs > deadlineMs ? 'deadline_ms' : null;
}

function isPanic(pool: readonly Worker[], nowMs: number): boolean {
  let slots = 0;
  let ejected = 0;
  for (const worker of pool) {
    if (!worker.serves) continue;
    slots += worker.record.slots;
    if (worker.breaker.state(nowMs) !== 'closed') ejected += worker.record.slots;
  }
  return ejected > slots * EJECTED_SHARE_MAX;
}

/** A call with more sequences than a worker's whole room still fits an idle worker. One that comes back takes its share slowly. */
function hasRoom(worker: Worker, sequences: number, nowMs: number): boolean {
  if (nowMs < worker.saturatedUntilMs) return false;
  const room = worker.record.slots * CALLS_PER_SLOT_MAX * worker.breaker.shareAt(nowMs);
  return worker.inFlight === 0 || worker.inFlight + worker.elsewhere.inFlight + sequences <= room;
}

/** Where something was tried, who should be asked now: of operators not tried yet, else of workers not tried yet, else all. Null: anybody. */
function preferred(candidates: Candidates, tried: NonNullable<Need['tried']>): ReadonlySet<Worker> | null {
  if (tried.length === 0) return null;
  const able = candidates.workers.filter((_, at) => candidates.serves(at));
  const otherOperators = able.filter(({ record }) => !tried.some(({ operator }) => operator === record.operator));
  if (otherOperators.length > 0) return new Set(otherOperators);
  const otherWorkers = able.filter(({ record }) => !tried.some(({ worker }) => worker === record.id));
  return new Set(otherWorkers.length > 0 ? otherWorkers : able);
}

/** The row, of those that could serve, with the lowest score; of those as good as it the least loaded, of those any. -1: nobody could. */
function best(candidates: Candidates, among: ReadonlySet<Worker> | null, random: () => number): number {
  const { workers } = candidates;
  let least = Number.POSITIVE_INFINITY;
  for (let at = 0; at < workers.length; at++)
    if (mayServe(candidates, at, among) && candidates.score(at) < least) least = candidates.score(at);
  const tie = Math.max(least * (1 + TIE_SHARE), least + TIE_MS);
  let chosen = -1;
  let load = Number.POSITIVE_INFINITY;
  let equals = 0;
  for (let at = 0; at < workers.length; at++) {
    const worker = workers[at];
    if (worker === undefined || !mayServe(candidates, at, among) || candidates.score(at) > tie) continue;
    const here = (worker.inFlight + worker.elsewhere.inFlight) / worker.record.slots;
    if (here > load) continue;
    equals = here < load ? 1 : equals + 1;
    load = here;
    if (random() * equals < 1) chosen = at;
  }
  return chosen;
}

function mayServe(candidates: Candidates, at: number, among: ReadonlySet<Worker> | null): boolean {
  const worker = candidates.workers[at];
  return worker !== undefined && candidates.serves(at) && (among === null || among.has(worker));
}
