/**
 * How long a worker will take for a call, learned from the gateway's own clock and counts alone: nothing that a worker says about its
 * own speed enters. The formulas and most constants are those of research on routing, §2.1 and §2.2.
 */
import { DecayedLine, type LineOptions } from './decayed-line.ts';
import { Surprise } from './surprise.ts';

/** What a call asks for, in tokens. */
export interface Work {
  /** Of the prompt, what is not expected in the worker's prefix cache. */
  readonly uncachedTokens: number;
  /** Expected length of one answer. */
  readonly outputTokens: number;
  /** Generations that run at once. */
  readonly sequences: number;
}

/** What a worker has to do already. */
export interface Load {
  readonly slots: number;
  /** Generations there. */
  readonly inFlight: number;
  /** Of those, the ones that have not shown any content, and their uncached prompt tokens. */
  readonly waiting: number;
  readonly waitingTokens: number;
  /** How many times longer than predicted the oldest of them has waited. */
  readonly lateness: number;
}

/** What a prediction is made under, beside the load. */
export interface Conditions {
  /** How slow a worker is taken to be that was never seen, or not for long. */
  readonly neutral: Speed;
  readonly distanceMs: number;
  readonly nowMs: number;
}

/** All in milliseconds. */
export interface Prediction {
  /** From dispatch to the first content. */
  readonly ttftMs: number;
  /** Parts of it: waiting for a slot, and for the prompts in front. */
  readonly slotWaitMs: number;
  readonly promptsWaitMs: number;
  /** Between two tokens of one answer. */
  readonly perTokenMs: number;
  /** From dispatch to the last token. */
  readonly totalMs: number;
  /** By how much the prompt slows down the answers that are being written there, all together. */
  readonly delayMs: number;
}

export type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

export function blankPrediction(): Writable<Prediction> {
  return { ttftMs: 0, slotWaitMs: 0, promptsWaitMs: 0, perTokenMs: 0, totalMs: 0, delayMs: 0 };
}

/** To the first content, by uncached prompt tokens in front of it. Usual: 12,000 tokens a second. */
const PREFILL: LineOptions = {
  usual: { a: 30, s: 1_000 / 12_000 },
  anchors: [100, 8_000],
  slope: { min: 1_000 / 60_000, max: 1_000 / 300 },
};
/** Between tokens, by generations in flight. */
const DECODE: LineOptions = {
  usual: { a: 14, s: 0.35 },
  anchors: [1, 32],
  slope: { min: 0.01, max: 50 },
};
/** Answers shorter than this tell too little about the time between tokens. */
const TOKENS_TO_LEARN = 8;
const SERVICE_WEIGHT = 0.05;
const RTT_WEIGHT = 0.3;
/** A failure counts as at least so many times what was predicted, or a worker that fails fast would look fast. */
const FAILURE_FACTOR = 3;
const SHORT_TOKENS = 100;
const PENALTY_MAX_MS = 60_000;
const PENALTY_HALF_LIFE_MS = 20_000;
/** What a good answer leaves of it. */
const PENALTY_AFTER_GOOD = 0.25;

/** What one worker has shown with one model. */
export class ModelTimes {
  readonly prefill = new DecayedLine(PREFILL);
  readonly decode = new DecayedLine(DECODE);
  readonly surprise = new Surprise();
  /** How long a generation holds its slot; null before the first. */
  #serviceMs: number | null = null;

  /** Written into `into`, where that is given: whoever asks all workers of a pool can do with one. */
  predict(
    work: Work,
    load: Load,
    { neutral, distanceMs, nowMs }: Conditions,
    into: Writable<Prediction> = blankPrediction(),
  ): Prediction {
    const prefillTimes = load.lateness * this.prefill.stretch(neutral.prefill, nowMs);
    const decodeTimes = this.decode.stretch(neutral.decode, nowMs);
    const perTokenMs = decodeTimes * this.decode.at(load.inFlight + work.sequences);
    const answerMs = Math.max(0, work.outputTokens - 1) * perTokenMs;
    const startMs = prefillTimes * this.prefill.at(load.waitingTokens + work.uncachedTokens);
    const ownMs = prefillTimes * this.prefill.at(work.uncachedTokens);
    const queued = load.inFlight + work.sequences - load.slots;
    const slotWaitMs =
      load.inFlight === 0 || queued <= 0 ? 0 : (queued * (this.#serviceMs ?? ownMs + answerMs)) / load.slots;
    const decoding = load.inFlight - load.waiting;
    into.ttftMs = distanceMs + startMs + slotWaitMs;
    into.slotWaitMs = slotWaitMs;
    into.promptsWaitMs = startMs - ownMs;
    into.perTokenMs = perTokenMs;
    into.totalMs = into.ttftMs + answerMs;
    into.delayMs = decoding * work.uncachedTokens * prefillTimes * this.prefill.s;
    return into;
  }

  /** How long until one of so many slots, all taken, is free; null before that was ever seen. */
  slotFreeMs(slots: number): number | null {
    return this.#serviceMs === null ? null : this.#serviceMs / slots;
  }

  /** A generation held its slot for so long. */
  learnService(elapsedMs: number): void {
    this.#serviceMs = average(this.#serviceMs, elapsedMs, SERVICE_WEIGHT);
  }

  /** `tokens` after the first took `elapsedMs`, with so many generations in flight. False: too few to learn from. */
  learnDecode(tokens: number, elapsedMs: number, inFlight: number, nowMs: number): boolean {
    if (tokens < TOKENS_TO_LEARN) return false;
    this.decode.learn(inFlight, elapsedMs / tokens, nowMs);
    return true;
  }
}

/** How many times slower than the usual class. */
export interface Speed {
  readonly prefill: number;
  readonly decode: number;
}

export const USUAL_SPEED: Speed = { prefill: 1, decode: 1 };

const NO_TIMES = new ModelTimes();

/** What one worker has shown, whatever the model: its distance and its failures. */
export class WorkerTimes {
  /** One round trip on an open connection; null before the first. */
  rttMs: number | null = null;
  #penaltyMs = 0;
  #penaltyAtMs = 0;
  readonly #models = new Map<string, ModelTimes>();
  /** What was asked for last: a choice asks each worker of a pool several times for the same model. */
  #lastModel: string | null = null;
  #last = NO_TIMES;

  of(model: string): ModelTimes {
    if (model === this.#lastModel) return this.#last;
    let times = this.#models.get(model);
    if (times === undefined) {
      times = new ModelTimes();
      this.#models.set(model, times);
    }
    this.#lastModel = model;
    this.#last = times;
    return times;
  }

  /** To the first content of a short prompt on an idle worker, the way there not counted; of its fastest model. Null before the first. */
  get firstContentMs(): number | null {
    const known = [...this.#models.values()].filter(({ prefill }) => prefill.known);
    return known.length === 0 ? null : Math.min(...known.map(({ prefill }) => prefill.at(SHORT_TOKENS)));
  }

  /** What every prediction begins with: the way there and back, and what lately went wrong. */
  distanceMs(nowMs: number): number {
    return (this.rttMs ?? 0) + this.#penalty(nowMs);
  }

  learnRtt(elapsedMs: number): void {
    this.rttMs = average(this.rttMs, elapsedMs, RTT_WEIGHT);
  }

  /** An attempt that should have begun to answer after `predictedMs` failed after `elapsedMs`, before any content. */
  learnFailure(elapsedMs: number, predictedMs: number, nowMs: number): void {
    this.#penaltyMs = Math.min(PENALTY_MAX_MS, Math.max(elapsedMs, FAILURE_FACTOR * predictedMs));
    this.#penaltyAtMs = nowMs;
  }

  learnGood(nowMs: number): void {
    this.#penaltyMs = PENALTY_AFTER_GOOD * this.#penalty(nowMs);
    this.#penaltyAtMs = nowMs;
  }

  #penalty(nowMs: number): number {
    if (this.#penaltyMs === 0) return 0;
    return this.#penaltyMs * 0.5 ** ((nowMs - this.#penaltyAtMs) / PENALTY_HALF_LIFE_MS);
  }
}

/** How much slower than declared, on average, those workers of a pool are that have shown any speed: what one without history is taken for. */
export function neutralSpeed(
  pool: readonly { readonly times: WorkerTimes; readonly declared: Speed }[],
  model: string,
): Speed {
  const prefill = new Mean();
  const decode = new Mean();
  for (const { times, declared } of pool) {
    const shown = times.of(model);
    if (shown.prefill.known) prefill.add(shown.prefill.ratio / declared.prefill);
    if (shown.decode.known) decode.add(shown.decode.ratio / declared.decode);
  }
  return { prefill: prefill.or(1), decode: decode.or(1) };
}

/** Harmonic: one that was measured in a bad moment must not make all strangers look slow, or none would ever be asked. */
class Mean {
  #inverse = 0;
  #count = 0;

  add(value: number): void {
    this.#inverse += 1 / value;
    this.#count += 1;
  }

  or(nothing: number): number {
    return this.#count === 0 ? nothing : this.#count / this.#inverse;
  }
}

function average(old: number | null, sample: number, weight: number): number {
  return old === null ? sample : old + weight * (sample - old);
}
