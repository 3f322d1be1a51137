/** One registered endpoint that can serve a call: what was declared about it, and what this gateway has learned. */
import { Breaker } from './breaker.ts';
import { type Load, type ModelTimes, type Prediction, type Work, WorkerTimes } from './predict.ts';
import { type Prefix, PrefixMirror } from './prefix.ts';

/** Life of a worker; `degraded` is the outside name of an open or half-open breaker and is never stored. */
export type WorkerState = 'verifying' | 'probation' | 'active' | 'degraded' | 'quarantined' | 'draining';

/** What a model does. */
export type ModelKind = 'generation' | 'embedding';

/** What the registry stores. */
export interface WorkerRecord {
  readonly id: string;
  readonly operator: string;
  readonly url: string;
  readonly engineKey: string | null;
  readonly models: readonly { readonly id: string; readonly contextLength: number }[];
  /** ISO 3166 country code. */
  readonly country: string;
  readonly region: string;
  /** Generations that it runs at once. */
  readonly slots: number;
  readonly state: WorkerState;
}

/** Good answers that turn probation into full service. */
const PROBATION_GOOD_ANSWERS = 5;
/** How long a worker that said 429 or 503 gets no more calls. */
const SATURATED_MS = 1000;
/** Contexts that an engine's memory is taken to hold. */
const FULL_CONTEXTS = 8;

/** A worker as this gateway sees it now. */
export class Worker {
  record: WorkerRecord;
  readonly breaker = new Breaker();
  readonly times = new WorkerTimes();
  readonly mirror = new PrefixMirror();
  /** Generations reserved here by this gateway and not yet released. */
  inFlight = 0;
  /** Of those, the ones that have not begun to answer, and their uncached prompt tokens. */
  waiting = 0;
  waitingTokens = 0;
  /** The same counts of all other gateways together, as far as they told; see shared-load.ts. */
  readonly elsewhere = { inFlight: 0, waiting: 0, waitingTokens: 0 };
  /** Calls that show nothing before their end: those taken to have begun at their predicted time leave the front. */
  readonly #silent: { readonly reservation: Reservation; readonly beginsAtMs: number }[] = [];
  /** The last thing that went wrong, sanitised, for the operator; null after a good answer. */
  lastError: string | null = null;
  /** What each model turned out to do when it was checked: a server either generates or embeds. */
  readonly kinds = new Map<string, ModelKind>();
  /** When it last gave content or a good answer (monotonic ms). */
  lastGoodAtMs: number | null = null;
  #lifecycle: WorkerState;
  #goodAnswers = 0;
  #saturatedUntilMs = 0;
  readonly #targets = new Map<string, URL>();

  constructor(record: WorkerRecord) {
    this.record = record;
    this.#lifecycle = record.state;
    this.mirror.resize(cacheTokens(record));
  }

  /** Takes over a changed record; what was learned stays, unless the worker is now another machine. */
  update(record: WorkerRecord): void {
    this.record = record;
    this.#lifecycle = record.state;
    this.#targets.clear();
    this.mirror.resize(cacheTokens(record));
  }

  /** The state without regard to the breaker: what the registry stores. */
  get lifecycle(): WorkerState {
    return this.#lifecycle;
  }

  /** The state as operators and admins see it. */
  state(nowMs: number): WorkerState {
    return this.serves && this.breaker.state(nowMs) !== 'closed' ? 'degraded' : this.#lifecycle;
  }

  /** Whether its life allows calls at all; the breaker and load are judged apart. */
  get serves(): boolean {
    return this.#lifecycle === 'active' || this.#lifecycle === 'probation';
  }

  /** Moves on in life. Returns false when nothing changed. */
  mark(state: WorkerState): boolean {
    if (state === this.#lifecycle) return false;
    this.#lifecycle = state;
    if (state === 'probation') this.#goodAnswers = 0;
    return true;
  }

  /** Counts a good answer. Returns true when it ends the probation. */
  good(nowMs: number): boolean {
    this.breaker.success(nowMs);
    this.lastGoodAtMs = nowMs;
    this.lastError = null;
    this.#goodAnswers += 1;
    return this.#lifecycle === 'probation' && this.#goodAnswers >= PROBATION_GOOD_ANSWERS && this.mark('active');
  }

  /** Remembers what went wrong, for the operator to see; sanitised text. */
  complain(detail: string): void {
    this.lastError = detail;
  }

  saturate(nowMs: number): void {
    this.#saturatedUntilMs = nowMs + SATURATED_MS;
  }

  get saturatedUntilMs(): number {
    return this.#saturatedUntilMs;
  }

  contextOf(model: string): number {
    for (const { id, contextLength } of this.record.models) if (id === model) return contextLength;
    return 0;
  }

  /** The address of an API path on this worker. */
  target(path: string): URL {
    let target = this.#targets.get(path);
    if (target === undefined) {
      target = new URL(this.record.url.replace(/\/+$/, '') + path);
      this.#targets.set(path, target);
    }
    return target;
  }

  /** What it has to do now, for this gateway and the others. */
  loadAt(nowMs: number): Load {
    this.settleSilent(nowMs);
    const { elsewhere } = this;
    return {
      slots: this.record.slots,
      inFlight: this.inFlight + elsewhere.inFlight,
      waiting: this.waiting + elsewhere.waiting,
      waitingTokens: this.waitingTokens + elsewhere.waitingTokens,
    };
  }

  /** Calls that show nothing before their end count as begun from their predicted time on. */
  settleSilent(nowMs: number): void {
    for (let front = this.#silent[0]; front !== undefined && front.beginsAtMs <= nowMs; front = this.#silent[0]) {
      this.#silent.shift();
      front.reservation.begun();
    }
  }

  /** Takes places for a call, at once and before anything is awaited. */
  reserve(call: Reserved, nowMs: number): Reservation {
    const reservation = new Reservation(this, call, nowMs);
    if (!call.showsContent) this.#silent.push({ reservation, beginsAtMs: nowMs + call.prediction.ttftMs });
    return reservation;
  }
}

/** A call that a worker was chosen for. */
export interface Reserved {
  readonly model: string;
  readonly work: Work;
  readonly prediction: Prediction;
  /** Of its prompt, what the worker is expected to know already. */
  readonly cachedTokens: number;
  readonly prefix: Prefix | null;
  /** Whether its first content can be seen: not so of a whole answer. */
  readonly showsContent: boolean;
}

/** A call's places on a worker, from the choice to the end of the attempt. What it shows on its way is learned. */
export class Reservation {
  readonly kind = 'reservation';
  readonly worker: Worker;
  readonly prediction: Prediction;
  readonly #call: Reserved;
  readonly #times: ModelTimes;
  /** As it was before this call: learning uses what the prediction used. */
  readonly #tokensAhead: number;
  readonly #inFlight: number;
  readonly #trial: boolean;
  readonly #reservedAtMs: number;
  #waits = true;
  #held = true;
  #begunAtMs: number | null = null;

  constructor(worker: Worker, call: Reserved, nowMs: number) {
    const { sequences, uncachedTokens } = call.work;
    this.worker = worker;
    this.prediction = call.prediction;
    this.#call = call;
    this.#times = worker.times.of(call.model);
    this.#tokensAhead = worker.waitingTokens + worker.elsewhere.waitingTokens;
    this.#reservedAtMs = nowMs;
    this.#trial = worker.breaker.begin(nowMs);
    worker.inFlight += sequences;
    worker.waiting += sequences;
    worker.waitingTokens += uncachedTokens;
    this.#inFlight = worker.inFlight + worker.elsewhere.inFlight;
    if (call.prefix !== null) worker.mirror.add(call.prefix);
  }

  /** The first content came now, `elapsedMs` after dispatch. */
  firstContent(elapsedMs: number, nowMs: number): void {
    this.begun();
    this.#begunAtMs = nowMs;
    this.#learnStart(elapsedMs, nowMs);
    this.worker.times.learnGood(nowMs);
    this.worker.lastGoodAtMs = nowMs;
  }

  /** It is not counted as waiting any more. */
  begun(): void {
    if (!this.#waits) return;
    this.#waits = false;
    this.worker.waiting -= this.#call.work.sequences;
    this.worker.waitingTokens -= this.#call.work.uncachedTokens;
  }

  /**
   * The answer is complete: `tokens` in each of its sequences, as the gateway counts, the last of them `elapsedMs` after dispatch, the
   * first (where it was seen) `firstMs` after it. `cachedTokens`: what the worker says that it knew of the prompt, if it does.
   */
  answered(
    seen: { tokens: number; elapsedMs: number; firstMs: number | null; cachedTokens: number | null },
    nowMs: number,
  ): void {
    const { tokens, elapsedMs, firstMs, cachedTokens } = seen;
    if (cachedTokens !== null) this.worker.mirror.correct(this.#call.cachedTokens, cachedTokens);
    if (firstMs !== null) {
      this.#times.learnDecode(tokens - 1, elapsedMs - firstMs, this.#inFlight, nowMs);
      return;
    }
    const writingMs = (tokens - 1) * this.prediction.perTokenMs;
    const learned = this.#times.learnDecode(
      tokens - 1,
      Math.max(0, elapsedMs - this.prediction.ttftMs),
      this.#inFlight,
      nowMs,
    );
    if (!learned) this.#learnStart(elapsedMs - writingMs, nowMs);
    this.worker.times.learnGood(nowMs);
  }

  /** The attempt failed now, before any content, `elapsedMs` after dispatch. */
  failed(elapsedMs: number, nowMs: number): void {
    this.worker.times.learnFailure(elapsedMs, this.prediction.ttftMs, nowMs);
  }

  /** Gives the places back. Further calls do nothing, so that every way out may call it. */
  release(nowMs: number): void {
    if (!this.#held) return;
    this.#held = false;
    this.begun();
    this.worker.inFlight -= this.#call.work.sequences;
    if (this.#trial) this.worker.breaker.endTrial();
    this.#learnService(nowMs);
  }

  /** What waits for a slot says nothing about the engine. */
  #learnStart(elapsedMs: number, nowMs: number): void {
    if (this.prediction.slotWaitMs > 0) return;
    const atWorkerMs = Math.max(0, elapsedMs - (this.worker.times.rttMs ?? 0));
    this.#times.prefill.learn(this.#tokensAhead + this.#call.work.uncachedTokens, atWorkerMs, nowMs);
  }

  #learnService(nowMs: number): void {
    if (this.#begunAtMs !== null) {
      const ownMs = this.#times.prefill.at(this.#call.work.uncachedTokens);
      this.#times.learnService(nowMs - this.#begunAtMs + ownMs);
    } else if (!this.#call.showsContent && this.prediction.slotWaitMs === 0) {
      this.#times.learnService(nowMs - this.#reservedAtMs);
    }
  }
}

/** For want of anybody's word on it: an engine has room for a few full contexts, not for one in each slot. */
function cacheTokens({ models, slots }: WorkerRecord): number {
  const longest = models.reduce((most, { contextLength }) => Math.max(most, contextLength), 0);
  return longest * Math.min(slots, FULL_CONTEXTS);
}
