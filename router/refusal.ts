/** Why a call is served by nobody: what each worker did not meet, what left nobody, and when to ask again. */
import type { Candidate, Candidates } from './candidates.ts';
import type { Fleet } from './fleet.ts';
import { tooLongByMs } from './overload.ts';
import type { Need } from './pick.ts';
import type { Prediction } from './predict.ts';

/** Why a worker does not serve a call, in the order in which it is asked. */
export const constraints = [
  'model',
  'context',
  'endpoint',
  'operator',
  'worker',
  'country',
  'state',
  'tried',
  'ejected',
  'load',
  'queue',
  'max_ttft_ms',
  'deadline_ms',
] as const;

export type Constraint = (typeof constraints)[number];

/** Why nobody serves the call. */
export interface Refusal {
  readonly kind: 'refusal';
  readonly code: 'no_worker' | 'overloaded' | 'region_unavailable';
  /** The constraint that left nobody. */
  readonly constraint: Constraint;
  /** When to ask again, where that is known. */
  readonly retryAfterMs: number | null;
  readonly candidates: Candidates;
}

/** When a full pool is told to be asked again, for want of a better prediction. */
const OVERLOADED_RETRY_MS = 1000;
/** Told times differ by so much, or all who were refused would come back at once. */
const RETRY_JITTER = 0.2;

/** The constraint asked last of all that refused somebody is the one that left nobody. */
export function refusal(candidates: Candidates, need: Need, nowMs: number, fleet: Fleet): Refusal {
  let last = 0;
  for (const { refused } of candidates) if (refused !== null) last = Math.max(last, constraints.indexOf(refused));
  const constraint = constraints[last] ?? 'model';
  const blamed = [...candidates].filter(({ refused }) => refused === constraint);
  const soonestMs =
    constraint === 'load'
      ? roomInMs(blamed, need.model, nowMs, fleet)
      : least(blamed.map((one) => waitMs(one, need, nowMs)));
  const retryAfterMs = soonestMs === null ? null : Math.ceil(soonestMs * (1 + RETRY_JITTER * fleet.random()));
  return { kind: 'refusal', code: codes[constraint], constraint, retryAfterMs, candidates };
}

/** When there is room after the turn of all who wait for it: at the workers that are only full, a place appears every so often. */
function roomInMs(full: readonly Candidate[], model: string, nowMs: number, fleet: Fleet): number {
  let perMs = 0;
  let restMs = Number.POSITIVE_INFINITY;
  for (const { worker } of full) {
    if (worker.saturatedUntilMs > nowMs) restMs = Math.min(restMs, worker.saturatedUntilMs - nowMs);
    else perMs += 1 / (worker.times.of(model).slotFreeMs(worker.record.slots) ?? OVERLOADED_RETRY_MS);
  }
  return Math.min(restMs, (fleet.room.waiting(model) + 1) / perMs);
}

function least(waits: readonly (number | null)[]): number | null {
  const known = waits.filter((ms) => ms !== null);
  return known.length === 0 ? null : Math.min(...known);
}

const codes: Readonly<Record<Constraint, Refusal['code']>> = {
  model: 'no_worker',
  context: 'no_worker',
  endpoint: 'no_worker',
  operator: 'no_worker',
  worker: 'no_worker',
  country: 'region_unavailable',
  state: 'no_worker',
  tried: 'no_worker',
  ejected: 'no_worker',
  load: 'overloaded',
  queue: 'overloaded',
  max_ttft_ms: 'overloaded',
  deadline_ms: 'overloaded',
};

/** How long until this worker, which refused for another reason than load, may be asked again; null where nobody knows. */
function waitMs(candidate: Candidate, { model, policy }: Need, nowMs: number): number | null {
  const { worker, prediction, refused } = candidate;
  if (refused === 'queue') return Math.max(1, tooLongByMs(worker, prediction?.slotWaitMs ?? 0, model));
  if (refused === 'ejected') return Math.max(1, (worker.breaker.openUntilMs ?? 0) - nowMs);
  if (prediction === null) return null;
  const tooLongMs =
    refused === 'max_ttft_ms'
      ? prediction.ttftMs - (policy.maxTtftMs ?? 0)
      : prediction.totalMs - (policy.deadlineMs ?? 0);
  return Math.max(1, tooLongMs * drainShare(prediction));
}

/** Slots and prompts in front of a call get free at the same time: the longer of both waits passes while their sum does. */
function drainShare({ slotWaitMs, promptsWaitMs }: Prediction): number {
  const sumMs = slotWaitMs + promptsWaitMs;
  return sumMs === 0 ? 1 : Math.max(slotWaitMs, promptsWaitMs) / sumMs;
}
