/**
 * Which worker serves this call: hard filters first, each with a name, then the lowest predicted time to first content.
 * Synchronous from the look at the counts to the reservation, so that a burst in one turn spreads.
 */
import type { Fleet } from './fleet.ts';
import { neutralFirstContentMs } from './predict.ts';
import type { ModelKind, Reservation, Worker } from './worker.ts';

/** What a call asks of a worker. */
export interface Need {
  readonly model: string;
  /** What the model must do; absent: whatever. */
  readonly kind?: ModelKind;
  /** Prompt bound + longest output. */
  readonly tokensMax: number;
  readonly promptTokens: number;
  /** Generations the call runs at once: n x prompts, or embedding inputs. */
  readonly sequences: number;
  /** Allowed countries; absent: any. */
  readonly countries?: ReadonlySet<string>;
  /** Allowed operators; absent: any. */
  readonly operators?: ReadonlySet<string>;
  /** Worker ids that must not serve it (any more). */
  readonly exclude: ReadonlySet<string>;
  /** Tried before: others, best of other operators, are preferred. */
  readonly tried?: readonly { readonly worker: string; readonly operator: string }[];
}

/** Why nobody serves the call. */
export interface Refusal {
  readonly kind: 'refusal';
  readonly code: 'no_worker' | 'overloaded' | 'region_unavailable';
  /** The constraint that left nobody. */
  readonly constraint: 'model' | 'endpoint' | 'operator' | 'country' | 'state' | 'tried' | 'ejected' | 'load';
  /** When to ask again, where that is known. */
  readonly retryAfterMs: number | null;
}

/** Calls per slot above which a worker takes no more: the rest would wait in its queue longer than anybody likes. */
const CALLS_PER_SLOT_MAX = 8;
/** Of a model's slots, the share that breakers may eject; beyond it they are overruled: a bad worker beats none. */
const EJECTED_SHARE_MAX = 0.5;
/** Predictions this near to the best are as good as it. */
const TIE_SHARE = 0.02;
const TIE_MS = 5;
/** When a full pool is told to be asked again, for want of a better prediction. */
const OVERLOADED_RETRY_MS = 1000;

/** Chooses and reserves, or says which constraint left nobody. */
export function pick(fleet: Fleet, need: Need): Reservation | Refusal {
  const nowMs = fleet.now();
  const able = eligible(fleet, need, nowMs);
  if ('kind' in able) return able;
  const neutralMs = neutralFirstContentMs(fleet.pool(need.model));
  const candidates = preferred(able, need.tried ?? []);
  const predictedMs = candidates.map((worker) => worker.times.predictMs(worker.load, neutralMs));
  const bestMs = Math.min(...predictedMs);
  const tieMs = Math.max(bestMs * (1 + TIE_SHARE), bestMs + TIE_MS);
  const ties = candidates.filter((_, index) => (predictedMs[index] ?? Number.POSITIVE_INFINITY) <= tieMs);
  const chosen = ties[Math.floor(fleet.random() * ties.length)];
  if (chosen === undefined) return refuse('no_worker', 'state');
  return chosen.reserve(need.sequences, chosen.times.predictMs(chosen.load, neutralMs), nowMs);
}

function eligible(fleet: Fleet, need: Need, nowMs: number): readonly Worker[] | Refusal {
  const { kind, operators, countries } = need;
  const pool = longEnough(fleet.pool(need.model), need);
  if (pool.length === 0) return refuse('no_worker', 'model');
  const able = kind === undefined ? pool : pool.filter((worker) => (worker.kinds.get(need.model) ?? kind) === kind);
  if (able.length === 0) return refuse('no_worker', 'endpoint');
  const allowed = operators === undefined ? able : able.filter(({ record }) => operators.has(record.operator));
  if (allowed.length === 0) return refuse('no_worker', 'operator');
  const near = countries === undefined ? allowed : allowed.filter(({ record }) => countries.has(record.country));
  if (near.length === 0) return refuse('region_unavailable', 'country');
  const serving = near.filter((worker) => worker.serves);
  if (serving.length === 0) return refuse('no_worker', 'state');
  const fresh = need.exclude.size === 0 ? serving : serving.filter(({ record }) => !need.exclude.has(record.id));
  if (fresh.length === 0) return refuse('no_worker', 'tried');
  const sound = isPanic(fleet.pool(need.model), nowMs) ? fresh : fresh.filter(({ breaker }) => breaker.admits(nowMs));
  if (sound.length === 0)
    return refuse(
      'no_worker',
      'ejected',
      soonest(fresh, nowMs, ({ breaker }) => breaker.openUntilMs),
    );
  const free = sound.filter((worker) => hasRoom(worker, need.sequences, nowMs));
  if (free.length > 0) return free;
  return refuse(
    'overloaded',
    'load',
    soonest(sound, nowMs, ({ saturatedUntilMs }) => saturatedUntilMs),
  );
}

/**
 * The bound on a call's tokens counts bytes and may be several times too high, so it must not refuse what would fit: where no
 * worker is long enough for the bound, those with the longest context are asked, and the engine itself knows whether it fits.
 */
function longEnough(pool: readonly Worker[], need: Need): readonly Worker[] {
  const long = pool.filter((worker) => worker.contextOf(need.model) >= need.tokensMax);
  if (long.length > 0) return long;
  const longest = pool.reduce((most, worker) => Math.max(most, worker.contextOf(need.model)), 0);
  return pool.filter((worker) => worker.contextOf(need.model) === longest);
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

/** A call with more sequences than a worker's whole room still fits an idle worker. */
function hasRoom(worker: Worker, sequences: number, nowMs: number): boolean {
  if (nowMs < worker.saturatedUntilMs) return false;
  return worker.inFlight === 0 || worker.inFlight + sequences <= worker.record.slots * CALLS_PER_SLOT_MAX;
}

/** Of operators not tried yet, else of workers not tried yet, else all. */
function preferred(able: readonly Worker[], tried: NonNullable<Need['tried']>): readonly Worker[] {
  if (tried.length === 0) return able;
  const otherOperators = able.filter(({ record }) => !tried.some(({ operator }) => operator === record.operator));
  if (otherOperators.length > 0) return otherOperators;
  const otherWorkers = able.filter(({ record }) => !tried.some(({ worker }) => worker === record.id));
  return otherWorkers.length > 0 ? otherWorkers : able;
}

function soonest(workers: readonly Worker[], nowMs: number, at: (worker: Worker) => number | null): number {
  const waits = workers.map((worker) => Math.ceil((at(worker) ?? 0) - nowMs)).filter((waitMs) => waitMs > 0);
  return waits.length > 0 ? Math.min(...waits) : OVERLOADED_RETRY_MS;
}

function refuse(code: Refusal['code'], constraint: Refusal['constraint'], retryAfterMs: number | null = null): Refusal {
  return { kind: 'refusal', code, constraint, retryAfterMs };
}
