/** A call's places on a worker, from the choice to the end of the attempt; what it shows on its way is learned. */
import type { ModelTimes, Prediction, Work } from './predict.ts';
import type { Prefix } from './prefix.ts';
import type { Worker } from './worker.ts';

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

/** Before a call that has shown nothing tells something of its worker, it is so much later than predicted. */
const LATE_TIMES = 1.5;
const LATE_MS = 50;

export class Reservation {
  readonly kind = 'reservation';
  readonly worker: Worker;
  readonly prediction: Prediction;
  readonly work: Work;
  readonly model: string;
  readonly #call: Reserved;
  readonly #times: ModelTimes;
  /** As it was before this call: learning uses what the prediction used. */
  readonly #tokensAhead: number;
  readonly #inFlight: number;
  /** No other gateway has anything there: what is new there is known. */
  readonly #isSole: boolean;
  readonly #trial: boolean;
  readonly #reservedAtMs: number;
  #waits = true;
  #held = true;
  #begunAtMs: number | null = null;

  constructor(worker: Worker, call: Reserved, nowMs: number) {
    const { sequences, uncachedTokens } = call.work;
    this.worker = worker;
    this.prediction = call.prediction;
    this.work = call.work;
    this.model = call.model;
    this.#call = call;
    this.#times = worker.times.of(call.model);
    this.#tokensAhead = worker.waitingTokens + worker.elsewhere.waitingTokens;
    this.#isSole = worker.elsewhere.inFlight === 0;
    this.#reservedAtMs = nowMs;
    this.#trial = worker.breaker.begin(nowMs);
    worker.inFlight += sequences;
    worker.waiting += sequences;
    worker.waitingTokens += uncachedTokens;
    this.#inFlight = worker.inFlight + worker.elsewhere.inFlight;
    if (call.prefix !== null) worker.mirror.add(call.prefix);
  }

  /** Its first content comes later than this only once in twenty times. */
  get lateAfterMs(): number {
    return this.#times.surprise.late * this.prediction.ttftMs;
  }

  /** From when on it tells something of its worker by showing nothing; never where it may be calls of others that it waits for. */
  get lateFromMs(): number {
    const { ttftMs, slotWaitMs } = this.prediction;
    if (slotWaitMs > 0 || !this.#isSole) return Number.POSITIVE_INFINITY;
    return this.#reservedAtMs + Math.max(this.lateAfterMs, LATE_TIMES * ttftMs, ttftMs + LATE_MS);
  }

  /** How many times as long as predicted it has shown nothing. */
  latenessAt(nowMs: number): number {
    return (nowMs - this.#reservedAtMs) / Math.max(1, this.prediction.ttftMs);
  }

  /** The first content came now, `elapsedMs` after dispatch. */
  firstContent(elapsedMs: number, nowMs: number): void {
    this.begun();
    this.#times.surprise.learn(elapsedMs, this.prediction.ttftMs);
    this.#begunAtMs = nowMs;
    this.#learnStart(elapsedMs, nowMs);
    this.worker.times.learnGood(nowMs);
    this.worker.lastGoodAtMs = nowMs;
  }

  /** It is not counted as waiting any more. */
  begun(): void {
    if (!this.#waits) return;
    this.#waits = false;
    this.worker.seen(this);
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

  /** Another worker was sooner than this one, which has shown nothing for `elapsedMs` and would have taken longer. */
  outrun(elapsedMs: number, nowMs: number): void {
    if (this.#begunAtMs === null) this.#learnStart(elapsedMs, nowMs);
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
    const tokens = this.#tokensAhead + this.#call.work.uncachedTokens;
    this.#times.prefill.learn(tokens, atWorkerMs, nowMs, this.#isSole);
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
