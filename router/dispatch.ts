/** Sends a call to the best worker, and to another one when that fails before any content has left. */
import { Attempt, type AttemptEnd, type AttemptLimits, type AttemptTimes } from './attempt.ts';
import type { FaultReason } from './fault.ts';
import type { Fleet } from './fleet.ts';
import type { Outbound } from './outbound.ts';
import { type Choice, type Need, pick } from './pick.ts';
import type { Candidate, Refusal } from './refusal.ts';
import type { RetryBudget } from './retry-budget.ts';
import type { WorkerRecord } from './worker.ts';

/** What routing needs; `log` takes one structured line per failed attempt. */
export interface Router {
  readonly fleet: Fleet;
  readonly outbound: Outbound;
  readonly retries: RetryBudget;
  readonly log: { warn(fields: object, message: string): void };
}

export interface DispatchRequest {
  readonly need: Need;
  readonly path: string;
  readonly body: string;
  readonly stream: boolean;
  readonly callId: string;
  /** The caller left, or the total time is over; its reason tells which. */
  readonly signal: AbortSignal;
  readonly limits: AttemptLimits & { readonly attempts: number; readonly queueMs: number };
  /** Told before each attempt, and when nobody can serve, what was seen of each worker. */
  readonly onChoice?: (candidates: readonly Candidate[]) => void;
}

/** An attempt that did not deliver. */
export interface FailedAttempt {
  readonly number: number;
  readonly worker: string;
  readonly operator: string;
  readonly reason: FaultReason;
  readonly elapsedMs: number;
}

/** The attempt that decided the call; its times are live, see `AttemptTimes`. */
export interface AttemptInfo {
  readonly number: number;
  readonly worker: WorkerRecord;
  readonly predictedTtftMs: number;
  readonly times: Readonly<AttemptTimes>;
  /** Those before it. */
  readonly earlier: readonly FailedAttempt[];
  /** To be told when the answer is complete: tokens per sequence as the gateway counts, and those of the prompt that the worker says it knew. */
  answered(tokens: number, cachedTokens: number | null): void;
}

type FailureCode = Refusal['code'] | 'worker_failed' | 'deadline_exceeded';

export type Dispatched =
  /** Committed: `first` ends with the read that brought the first content; a proper stream without any content comes whole. */
  | ({ readonly attempt: AttemptInfo } & Extract<AttemptEnd, { kind: 'stream' | 'whole' }>)
  /** The worker says that the request is wrong: never retried, nobody's fault but the caller's. */
  | ({ readonly attempt: AttemptInfo } & Extract<AttemptEnd, { kind: 'refused' }>)
  | {
      readonly kind: 'failed';
      readonly code: FailureCode;
      /** The hard constraint that left nobody, where no worker was tried. */
      readonly constraint: Refusal['constraint'] | null;
      readonly attempts: readonly FailedAttempt[];
      readonly retryAfterMs: number | null;
    }
  /** The signal fired before content. `attempt` is the one that was under way; `dispatched` tells whether its request had left. */
  | {
      readonly kind: 'aborted';
      readonly attempts: readonly FailedAttempt[];
      readonly dispatched: boolean;
      readonly attempt: AttemptInfo | null;
    };

/** When a pool whose workers were all full should be asked again. */
const FULL_RETRY_MS = 1000;
/** A first content is waited for so many times as long as predicted, and at least so long, while somebody else could be asked. */
const PATIENCE_FACTOR = 3;
const PATIENCE_MIN_MS = 2_000;

/** Never throws. After a `stream` result the signal still closes the upstream. */
export async function dispatch(router: Router, request: DispatchRequest): Promise<Dispatched> {
  const failed: FailedAttempt[] = [];
  const exclude = new Set(request.need.exclude);
  const untilMs = router.fleet.now() + Math.min(request.limits.queueMs, request.need.policy.maxTtftMs ?? Infinity);
  while (!request.signal.aborted) {
    if (failed.length >= request.limits.attempts) return exhausted(failed);
    if (failed.length > 0 && !router.retries.take(request.need.model, router.fleet.now())) return exhausted(failed);
    const choice = pick(router.fleet, { ...request.need, exclude, tried: failed });
    if (choice.kind === 'refusal' && (await roomAppears(router, request, choice, untilMs))) continue;
    if (request.signal.aborted) break;
    request.onChoice?.(choice.candidates);
    if (choice.kind === 'refusal') return failed.length > 0 ? exhausted(failed) : refused(choice);
    const { reservation } = choice;
    const limits = { ...request.limits, firstContentMs: patienceMs(choice, request, failed.length) };
    const attempt = new Attempt(router.fleet, reservation, { ...request, ...request.need, limits });
    const info = describe(choice, attempt, failed);
    const end = await attempt.run(router.outbound, request.signal);
    if (end.kind === 'aborted')
      return { kind: 'aborted', attempts: failed, dispatched: info.times.sent, attempt: info };
    if (end.kind !== 'fault') {
      router.retries.earn(request.need.model);
      return { ...end, attempt: info };
    }
    const { id, operator } = reservation.worker.record;
    const elapsedMs = router.fleet.now() - info.times.dispatchedAt;
    // A kept connection may die of old age just when it is used: such a worker may be asked once more.
    if (end.fault.reason !== 'reset' || failed.some(({ worker }) => worker === id)) exclude.add(id);
    failed.push({ number: info.number, worker: id, operator, reason: end.fault.reason, elapsedMs });
    router.log.warn({ call: request.callId, attempt: failed.at(-1), detail: end.fault.detail }, 'attempt failed');
  }
  return { kind: 'aborted', attempts: failed, dispatched: false, attempt: null };
}

function describe({ reservation }: Choice, attempt: Attempt, failed: readonly FailedAttempt[]): AttemptInfo {
  return {
    number: failed.length + 1,
    worker: reservation.worker.record,
    predictedTtftMs: reservation.prediction.ttftMs,
    times: attempt.times,
    earlier: [...failed],
    answered: (tokens, cachedTokens) => attempt.answered(tokens, cachedTokens),
  };
}

/** Waits for room where all workers are full; not where it is predicted to appear too late. */
async function roomAppears(
  { fleet }: Router,
  { need, signal }: DispatchRequest,
  { constraint, retryAfterMs }: Refusal,
  untilMs: number,
): Promise<boolean> {
  if (constraint !== 'load' || retryAfterMs === null || fleet.now() + retryAfterMs > untilMs) return false;
  return fleet.room.wait(need.model, untilMs, signal);
}

/** The last worker that can be asked has all the time there is, and so has one whose speed is not known yet. */
function patienceMs({ reservation, candidates }: Choice, { limits, need }: DispatchRequest, failures: number): number {
  const others = candidates.some(({ worker, refused }) => refused === null && worker !== reservation.worker);
  const known = reservation.worker.times.of(need.model).prefill.known;
  if (!others || !known || failures + 1 >= limits.attempts) return limits.firstContentMs;
  const patienceMs = Math.max(PATIENCE_MIN_MS, PATIENCE_FACTOR * reservation.prediction.ttftMs);
  return Math.min(limits.firstContentMs, patienceMs);
}

function refused({ code, constraint, retryAfterMs }: Refusal): Dispatched {
  return { kind: 'failed', code, constraint, attempts: [], retryAfterMs };
}

/** Everybody who might was asked: full when all were full, too late when all were too slow, failed otherwise. */
function exhausted(failed: readonly FailedAttempt[]): Dispatched {
  const all = (reason: FaultReason) => failed.every((attempt) => attempt.reason === reason);
  const code = all('load') ? 'overloaded' : all('first_content_timeout') ? 'deadline_exceeded' : 'worker_failed';
  const retryAfterMs = code === 'overloaded' ? FULL_RETRY_MS : null;
  return { kind: 'failed', code, constraint: null, attempts: failed, retryAfterMs };
}
