/** Sends a call to the best worker, and to another one when that fails before any content has left. */
import { Attempt, type AttemptEnd, type AttemptTimes } from './attempt.ts';
import type { AttemptLimits, AttemptRequest } from './attempt-request.ts';
import type { Candidates } from './candidates.ts';
import type { EndSignal } from './ending.ts';
import { type Fault, type FaultReason, fault } from './fault.ts';
import type { Fleet } from './fleet.ts';
import { first, type HedgeBudget, isLate, type Try } from './hedge.ts';
import type { Outbound } from './outbound.ts';
import { patience } from './patience.ts';
import { type Choice, type Need, pick } from './pick.ts';
import type { Refusal } from './refusal.ts';
import type { RetryBudget } from './retry-budget.ts';
import type { Worker, WorkerRecord } from './worker.ts';

/** What routing needs; `log` takes one structured line per failed attempt. */
export interface Router {
  readonly fleet: Fleet;
  readonly outbound: Outbound;
  readonly retries: RetryBudget;
  /** Null: no call is sent to two workers at once. */
  readonly hedges: HedgeBudget | null;
  readonly log: { warn(fields: object, message: string): void };
}

export interface DispatchRequest extends AttemptRequest {
  readonly need: Need;
  /** The caller left, or the total time is over; its reason tells which. */
  readonly signal: EndSignal;
  readonly limits: AttemptLimits & { readonly attempts: number; readonly queueMs: number };
  /** Told before each attempt, and when nobody can serve, what was seen of each worker. */
  readonly onChoice?: (candidates: Candidates) => void;
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

/** The worker says that the request is wrong: the caller's fault, unless an audit shows otherwise. */
type Refused = { readonly attempt: AttemptInfo } & Extract<AttemptEnd, { kind: 'refused' }>;

export type Dispatched =
  /** Committed: `first` ends with the read that brought the first content; a proper stream without any content comes whole. */
  | ({ readonly attempt: AttemptInfo } & Extract<AttemptEnd, { kind: 'stream' | 'whole' }>)
  | Refused
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

/** When a pool whose workers were all full, or failed, should be asked again. */
const FULL_RETRY_MS = 1000;

/** Never throws. After a `stream` result the signal still closes the upstream. */
export function dispatch(router: Router, request: DispatchRequest): Promise<Dispatched> {
  return new Dispatch(router, request).run();
}

class Dispatch {
  readonly #router: Router;
  readonly #request: DispatchRequest;
  readonly #failed: FailedAttempt[] = [];
  #exclude: ReadonlySet<string>;
  /** Longest wait for room. */
  readonly #untilMs: number;

  constructor(router: Router, request: DispatchRequest) {
    this.#router = router;
    this.#request = request;
    this.#exclude = request.need.exclude;
    const { limits, need } = request;
    this.#untilMs = router.fleet.now() + Math.min(limits.queueMs, need.policy.maxTtftMs ?? Infinity);
  }

  async run(): Promise<Dispatched> {
    const { signal, onChoice } = this.#request;
    while (!signal.aborted) {
      if (!this.#mayTry()) return exhausted(this.#failed);
      const choice = pick(this.#router.fleet, this.#need);
      if (choice.kind === 'refusal' && (await this.#roomAppears(choice))) continue;
      if (signal.aborted) break;
      onChoice?.(choice.candidates);
      if (choice.kind === 'refusal') return this.#failed.length > 0 ? exhausted(this.#failed) : refused(choice);
      const only = this.#start(choice);
      const beside = this.#mayHedge ? await this.#hedge(only) : null;
      const decided = beside === null ? this.#judge(only, await only.end) : await this.#decide(only, beside);
      if (decided?.kind === 'refused') return this.#audit(decided);
      if (decided !== null) return decided;
    }
    return { kind: 'aborted', attempts: this.#failed, dispatched: false, attempt: null };
  }

  #mayTry(): boolean {
    if (this.#failed.length === 0) return true;
    const { need, limits } = this.#request;
    return this.#failed.length < limits.attempts && this.#router.retries.take(need.model, this.#router.fleet.now());
  }

  /** As asked, less what was tried. */
  get #need(): Need {
    const { need } = this.#request;
    return this.#failed.length === 0 ? need : { ...need, exclude: this.#exclude, tried: this.#failed };
  }

  /** Waits for room where all workers are full; not where it is predicted to appear too late. */
  async #roomAppears({ constraint, retryAfterMs }: Refusal): Promise<boolean> {
    const { fleet } = this.#router;
    if (constraint !== 'load' || retryAfterMs === null || fleet.now() + retryAfterMs > this.#untilMs) return false;
    return fleet.room.wait(this.#request.need.model, this.#untilMs, this.#request.signal);
  }

  #start(choice: Choice): Try {
    const { fleet, outbound, hedges } = this.#router;
    const { need, limits: most, signal } = this.#request;
    const asked = { model: need.model, isLast: this.#failed.length + 1 >= most.attempts };
    const limits = patience(choice, asked, most);
    const attempt = new Attempt(fleet, choice.reservation, this.#request, limits);
    hedges?.earn(tokensOf(choice));
    return { choice, attempt, limits, end: attempt.run(outbound, signal) };
  }

  /** The outcome of two attempts at once; as `#judge`. */
  async #decide(only: Try, beside: Try): Promise<Dispatched | null> {
    const sooner = await first(only, beside);
    const later = sooner === only ? beside : only;
    const end = await sooner.end;
    if (end.kind === 'fault') {
      this.#note(sooner, end.fault);
      return this.#judge(later, await later.end);
    }
    later.attempt.outrun();
    this.#note(later, fault('outrun', 'another worker was sooner'));
    return this.#judge(sooner, end);
  }

  get #mayHedge(): boolean {
    const { stream, limits } = this.#request;
    return this.#router.hedges !== null && stream && this.#failed.length + 2 <= limits.attempts;
  }

  /** A second attempt, at another worker, where the first is late and the other is expected to be sooner. */
  async #hedge(late: Try): Promise<Try | null> {
    const { hedges } = this.#router;
    const { need, signal, onChoice } = this.#request;
    if (hedges === null) return null;
    const { reservation } = late.choice;
    const afterMs = reservation.lateAfterMs;
    if (!(await isLate(late, afterMs)) || signal.aborted || !hedges.affords(tokensOf(late.choice))) return null;
    const leftMs = Math.max(0, late.limits.firstContentMs - afterMs);
    const policy = { ...need.policy, maxTtftMs: Math.min(need.policy.maxTtftMs ?? Infinity, leftMs) };
    const { id: worker, operator } = reservation.worker.record;
    const choice = pick(this.#router.fleet, {
      ...need,
      policy,
      exclude: new Set([...this.#exclude, worker]),
      tried: [...this.#failed, { worker, operator }],
    });
    if (choice.kind === 'refusal') return null;
    hedges.take(tokensOf(choice));
    onChoice?.(choice.candidates);
    this.#router.log.warn({ call: this.#request.callId, worker, afterMs }, 'a late worker: another is asked as well');
    return this.#start(choice);
  }

  /** Asks another worker about a few refusals: its answer, where it has one, is the call's, and the first worker has failed. */
  async #audit(refusal: Refused): Promise<Dispatched> {
    const { fleet, retries } = this.#router;
    const { need, limits, onChoice } = this.#request;
    const { id, operator } = refusal.attempt.worker;
    const worker = fleet.get(id);
    if (worker === undefined || !worker.refusals.isDue(fleet.random())) return refusal;
    if (this.#failed.length + 2 > limits.attempts || !retries.take(need.model, fleet.now())) return refusal;
    const choice = pick(fleet, {
      ...need,
      exclude: new Set([...this.#exclude, id]),
      tried: [...this.#failed, { worker: id, operator }],
    });
    if (choice.kind === 'refusal') return refusal;
    onChoice?.(choice.candidates);
    const other = this.#start(choice);
    const end = await other.end;
    if (end.kind === 'fault') return refusal;
    if (end.kind !== 'aborted') worker.refusals.learn(end.kind === 'refused');
    if (end.kind === 'refused') return refusal;
    if (end.kind !== 'aborted') this.#disprove(worker, refusal.attempt);
    return this.#judge(other, end) ?? refusal;
  }

  #disprove(worker: Worker, { number, predictedTtftMs, times }: AttemptInfo): void {
    const { fleet, log } = this.#router;
    const { id, operator } = worker.record;
    const lie = fault('false_refusal', 'refused as wrong what another worker served');
    const elapsedMs = (times.lastByteAt ?? times.dispatchedAt) - times.dispatchedAt;
    fleet.blame(worker, lie);
    worker.times.learnFailure(elapsedMs, predictedTtftMs, fleet.now());
    this.#failed.push({ number, worker: id, operator, reason: lie.reason, elapsedMs });
    log.warn({ call: this.#request.callId, worker: id }, lie.detail);
  }

  /** The outcome of the call; null: this attempt failed, and another may be made. */
  #judge(one: Try, end: AttemptEnd): Dispatched | null {
    const info = this.#describe(one);
    if (end.kind === 'aborted')
      return { kind: 'aborted', attempts: this.#failed, dispatched: info.times.sent, attempt: info };
    if (end.kind === 'fault') {
      this.#note(one, end.fault);
      return null;
    }
    this.#router.retries.earn(this.#request.need.model);
    return { ...end, attempt: info };
  }

  #note({ choice, attempt }: Try, { reason, detail }: Fault): void {
    const { id, operator } = choice.reservation.worker.record;
    const elapsedMs = this.#router.fleet.now() - attempt.times.dispatchedAt;
    // A kept connection may die of old age just when it is used: such a worker may be asked once more.
    if (reason !== 'reset' || this.#failed.some(({ worker }) => worker === id))
      this.#exclude = new Set([...this.#exclude, id]);
    const failed = { number: this.#failed.length + 1, worker: id, operator, reason, elapsedMs };
    this.#failed.push(failed);
    if (reason !== 'outrun')
      this.#router.log.warn({ call: this.#request.callId, attempt: failed, detail }, 'attempt failed');
  }

  #describe({ choice, attempt }: Try): AttemptInfo {
    return {
      number: this.#failed.length + 1,
      worker: choice.reservation.worker.record,
      predictedTtftMs: choice.reservation.prediction.ttftMs,
      times: attempt.times,
      earlier: [...this.#failed],
      answered: (tokens, cachedTokens) => attempt.answered(tokens, cachedTokens),
    };
  }
}

function tokensOf({ reservation }: Choice): number {
  const { uncachedTokens, outputTokens, sequences } = reservation.work;
  return uncachedTokens + outputTokens * sequences;
}
function refused({ code, constraint, retryAfterMs }: Refusal): Dispatched {
  return { kind: 'failed', code, constraint, attempts: [], retryAfterMs };
}

/** Everybody who might was asked: full when all were full, too late when all were too slow, failed otherwise. */
function exhausted(failed: readonly FailedAttempt[]): Dispatched {
  const all = (reason: FaultReason) => failed.every((attempt) => attempt.reason === reason);
  const code = all('load') ? 'overloaded' : all('first_content_timeout') ? 'deadline_exceeded' : 'worker_failed';
  const retryAfterMs = code === 'deadline_exceeded' ? null : FULL_RETRY_MS;
  return { kind: 'failed', code, constraint: null, attempts: failed, retryAfterMs };
}
