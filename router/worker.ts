/** One registered endpoint that can serve a call: what was declared about it, and what this gateway has learned. */
import { Breaker } from './breaker.ts';
import { type Gpu, gpus } from './gpu.ts';
import { type Target, targetOf } from './outbound.ts';
import { type Load, type Speed, USUAL_SPEED, WorkerTimes } from './predict.ts';
import { PrefixMirror } from './prefix.ts';
import type { PrefixIndex } from './prefix-index.ts';
import { Presumed } from './presumed.ts';
import { Queue } from './queue.ts';
import { RefusalAudit } from './refusal-audit.ts';
import { Reservation, type Reserved } from './reservation.ts';

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
  /** Declared class of its GPU; absent or null: the usual one. */
  readonly gpu?: Gpu | null;
  readonly state: WorkerState;
}

/** Good answers that turn probation into full service. */
const PROBATION_GOOD_ANSWERS = 5;
/** How long a worker that said 429 or 503 gets no more calls. */
const SATURATED_MS = 1000;
/** How long a model that a worker did not have is not asked of it again, unless a check finds it there. */
const ABSENT_MS = 60_000;
/** What a request says of itself and the answer that it wants. */
const accepted = {
  stream: { 'content-type': 'application/json', accept: 'text/event-stream' },
  whole: { 'content-type': 'application/json', accept: 'application/json' },
  anything: {},
};
/** Contexts that an engine's memory is taken to hold. */
const FULL_CONTEXTS = 8;

const NOTHING = { sequences: 0, tokens: 0 };

/** A worker as this gateway sees it now. */
export class Worker {
  record: WorkerRecord;
  readonly breaker = new Breaker();
  readonly refusals = new RefusalAudit();
  readonly times = new WorkerTimes();
  readonly mirror: PrefixMirror;
  /** Generations reserved here by this gateway and not yet released. */
  inFlight = 0;
  /** Of those, the ones that have not begun to answer, and their uncached prompt tokens. */
  waiting = 0;
  waitingTokens = 0;
  /** The same counts of all other gateways together, as far as they told; see shared-load.ts. */
  readonly elsewhere = { inFlight: 0, waiting: 0, waitingTokens: 0 };
  /** What of theirs was not told yet. */
  readonly #presumed = new Presumed();
  /** Calls that are to show their first content and have not yet, the oldest first. */
  readonly #unseen = new Set<Reservation>();
  /** The first of them: an engine reads prompts in the order of their arrival, so that it tells the most. */
  #oldest: Reservation | null = null;
  #lateFromMs = Number.POSITIVE_INFINITY;
  /** One for all choices: a hundred new ones in each would keep the garbage collector busy. */
  readonly #load = { slots: 0, inFlight: 0, waiting: 0, waitingTokens: 0, lateness: 1 };
  /** Calls that show nothing before their end: those taken to have begun at their predicted time leave the front. */
  readonly #silent = new Queue<{ readonly reservation: Reservation; readonly beginsAtMs: number }>();
  /** The last thing that went wrong, sanitised, for the operator; null after a good answer. */
  lastError: string | null = null;
  /** What each model turned out to do when it was checked: a server either generates or embeds. */
  readonly kinds = new Map<string, ModelKind>();
  /** Models that it turned out not to have, and until when that is believed. */
  readonly #absent = new Map<string, number>();
  /** What its engine's cache holds, as far as it told. */
  #cacheTokens: number | null = null;
  /** When it last gave content or a good answer (monotonic ms). */
  lastGoodAtMs: number | null = null;
  #lifecycle: WorkerState;
  #goodAnswers = 0;
  #saturatedUntilMs = 0;
  readonly #targets = {
    stream: new Map<string, Target>(),
    whole: new Map<string, Target>(),
    anything: new Map<string, Target>(),
  };

  /** `prefixes` is the fleet's. */
  constructor(record: WorkerRecord, prefixes: PrefixIndex) {
    this.record = record;
    this.mirror = new PrefixMirror(prefixes);
    this.#lifecycle = record.state;
    this.mirror.resize(guessedCacheTokens(record));
  }

  /** Takes over a changed record; what was learned stays, unless the worker is now another machine. */
  update(record: WorkerRecord): void {
    this.record = record;
    this.#lifecycle = record.state;
    for (const targets of Object.values(this.#targets)) targets.clear();
    this.mirror.resize(this.#cacheTokens ?? guessedCacheTokens(record));
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

  /** It answered 404 for a model that it was registered with. */
  missing(model: string, nowMs: number): void {
    this.#absent.set(model, nowMs + ABSENT_MS);
    this.kinds.delete(model);
  }

  /** A check found what the model does there. */
  found(model: string, kind: ModelKind): void {
    this.#absent.delete(model);
    this.kinds.set(model, kind);
  }

  has(model: string, nowMs: number): boolean {
    return this.#absent.size === 0 || (this.#absent.get(model) ?? 0) <= nowMs;
  }

  learnCacheTokens(tokens: number): void {
    this.#cacheTokens = tokens;
    this.mirror.resize(tokens);
  }

  /** What it is taken for until it has shown anything. */
  get declared(): Speed {
    const { gpu } = this.record;
    return gpu === undefined || gpu === null ? USUAL_SPEED : gpus[gpu];
  }

  contextOf(model: string): number {
    for (const { id, contextLength } of this.record.models) if (id === model) return contextLength;
    return 0;
  }

  /** The address of an API path on this worker, with what all requests there say: what is sent and wanted, and its key. */
  target(path: string, wanted: keyof typeof accepted = 'anything'): Target {
    let target = this.#targets[wanted].get(path);
    if (target === undefined) {
      const { url, engineKey } = this.record;
      const key = engineKey === null ? {} : { authorization: `Bearer ${engineKey}` };
      target = targetOf(url.replace(/\/+$/, '') + path, { ...accepted[wanted], ...key });
      this.#targets[wanted].set(path, target);
    }
    return target;
  }

  /** What it has to do now, for this gateway and the others, which together run `othersTimes` as much as this one. Good until the next call. */
  loadAt(nowMs: number, othersTimes: number): Load {
    this.settleSilent(nowMs);
    const { elsewhere } = this;
    const presumed = othersTimes === 0 ? NOTHING : this.#presumed.at(othersTimes, nowMs);
    const load = this.#load;
    load.slots = this.record.slots;
    load.inFlight = this.inFlight + elsewhere.inFlight + presumed.sequences;
    load.waiting = this.waiting + elsewhere.waiting + presumed.sequences;
    load.waitingTokens = this.waitingTokens + elsewhere.waitingTokens + presumed.tokens;
    load.lateness = nowMs > this.#lateFromMs ? (this.#oldest?.latenessAt(nowMs) ?? 1) : 1;
    return load;
  }

  /** Calls that show nothing before their end count as begun from their predicted time on. */
  settleSilent(nowMs: number): void {
    for (let { first } = this.#silent; first !== undefined && first.beginsAtMs <= nowMs; { first } = this.#silent) {
      this.#silent.shift();
      first.reservation.begun();
    }
  }

  /** Takes places for a call, at once and before anything is awaited. */
  reserve(call: Reserved, nowMs: number): Reservation {
    const reservation = new Reservation(this, call, nowMs);
    this.#presumed.sent(call.work.sequences, call.work.uncachedTokens, nowMs);
    if (call.showsContent) {
      this.#unseen.add(reservation);
      if (this.#oldest === null) this.#watch(reservation);
    } else this.#silent.push({ reservation, beginsAtMs: nowMs + call.prediction.ttftMs });
    return reservation;
  }

  /** The call has begun to answer, or is over. */
  seen(reservation: Reservation): void {
    this.#unseen.delete(reservation);
    if (this.#oldest === reservation) this.#watch(this.#unseen.values().next().value ?? null);
  }

  #watch(oldest: Reservation | null): void {
    this.#oldest = oldest;
    this.#lateFromMs = oldest?.lateFromMs ?? Number.POSITIVE_INFINITY;
  }
}

/** For want of anybody's word on it: an engine has room for a few full contexts, not for one in each slot. */
function guessedCacheTokens({ models, slots }: WorkerRecord): number {
  const longest = models.reduce((most, { contextLength }) => Math.max(most, contextLength), 0);
  return longest * Math.min(slots, FULL_CONTEXTS);
}
