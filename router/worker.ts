/** One registered endpoint that can serve a call: what was declared about it, and what this gateway has learned. */
import { Breaker } from './breaker.ts';
import { LearnedTimes } from './predict.ts';

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

/** A worker as this gateway sees it now. */
export class Worker {
  record: WorkerRecord;
  readonly breaker = new Breaker();
  readonly times = new LearnedTimes();
  /** Generations reserved here by this gateway and not yet released. */
  inFlight = 0;
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
  }

  /** Takes over a changed record; what was learned stays, unless the worker is now another machine. */
  update(record: WorkerRecord): void {
    this.record = record;
    this.#lifecycle = record.state;
    this.#targets.clear();
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
    return this.record.models.find(({ id }) => id === model)?.contextLength ?? 0;
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

  /** Generations already here per slot. */
  get load(): number {
    return this.inFlight / this.record.slots;
  }

  /** Takes places for a call, at once and before anything is awaited. */
  reserve(sequences: number, predictedTtftMs: number, nowMs: number): Reservation {
    return new Reservation(this, sequences, predictedTtftMs, nowMs);
  }
}

/** A call's places on a worker, from the choice to the end of the attempt. */
export class Reservation {
  readonly kind = 'reservation';
  readonly worker: Worker;
  readonly predictedTtftMs: number;
  /** As it was before this call: learning uses what the prediction used. */
  readonly #load: number;
  readonly #sequences: number;
  readonly #trial: boolean;
  #held = true;

  constructor(worker: Worker, sequences: number, predictedTtftMs: number, nowMs: number) {
    this.worker = worker;
    this.predictedTtftMs = predictedTtftMs;
    this.#load = worker.load;
    this.#sequences = sequences;
    this.#trial = worker.breaker.begin(nowMs);
    worker.inFlight += sequences;
  }

  /** The first content came now, `elapsedMs` after dispatch. */
  firstContent(elapsedMs: number, nowMs: number): void {
    this.worker.times.learnFirstContent(elapsedMs, this.#load, nowMs);
    this.worker.lastGoodAtMs = nowMs;
  }

  /** The attempt failed now, before any content, `elapsedMs` after dispatch. */
  failed(elapsedMs: number, nowMs: number): void {
    this.worker.times.learnFailure(elapsedMs, this.#load, this.predictedTtftMs, nowMs);
  }

  /** Gives the places back. Further calls do nothing, so that every way out may call it. */
  release(): void {
    if (!this.#held) return;
    this.#held = false;
    this.worker.inFlight -= this.#sequences;
    if (this.#trial) this.worker.breaker.endTrial();
  }
}
