/** What one choice saw of each worker. */
import type { Prediction } from './predict.ts';
import type { Constraint } from './refusal.ts';
import type { Worker } from './worker.ts';

/** A worker as the choice saw it. */
export interface Candidate {
  readonly worker: Worker;
  /** Null: it could have served. */
  readonly refused: Constraint | null;
  /** Null where it was refused before anything was predicted. */
  readonly prediction: Prediction | null;
  /** Of the prompt, what it is expected to know already. */
  readonly cachedTokens: number;
  /** Least wins: milliseconds, weighed as the call's policy has it. */
  readonly score: number;
}

/** Where the numbers of a row stand. */
const SCORE = 0;
const CACHED_TOKENS = 1;
const TTFT_MS = 2;
const SLOT_WAIT_MS = 3;
const PROMPTS_WAIT_MS = 4;
const PER_TOKEN_MS = 5;
const TOTAL_MS = 6;
const DELAY_MS = 7;
const ROW = 8;
/** The score of those that were refused before anything was predicted. */
const UNPREDICTED = Number.NaN;

/**
 * A row for each worker, all numbers in one array: a choice looks at up to 128 workers, and as objects with boxed numbers they were most of
 * the garbage that calls leave. Whoever asks why a call went where it went has them as objects, one after the other.
 */
export class Candidates implements Iterable<Candidate> {
  #workers: readonly Worker[];
  readonly #refused: (Constraint | null)[];
  readonly #numbers: number[];

  constructor(workers: readonly Worker[]) {
    this.#workers = workers;
    this.#refused = new Array(workers.length).fill(null);
    this.#numbers = new Array(ROW * workers.length);
    for (let at = 0; at < workers.length; at++) this.#numbers[ROW * at + SCORE] = UNPREDICTED;
  }

  get workers(): readonly Worker[] {
    return this.#workers;
  }

  /** Takes what another one holds, into its own memory. */
  become(other: Candidates): void {
    this.#workers = other.#workers;
    for (let at = 0; at < other.#refused.length; at++) this.#refused[at] = other.#refused[at] ?? null;
    for (let at = 0; at < other.#numbers.length; at++) this.#numbers[at] = other.#numbers[at] ?? 0;
  }

  refuse(at: number, constraint: Constraint): void {
    this.#refused[at] = constraint;
  }

  /** The prediction is copied. */
  note(at: number, prediction: Prediction, cachedTokens: number, score: number): void {
    const row = ROW * at;
    const numbers = this.#numbers;
    numbers[row + SCORE] = score;
    numbers[row + CACHED_TOKENS] = cachedTokens;
    numbers[row + TTFT_MS] = prediction.ttftMs;
    numbers[row + SLOT_WAIT_MS] = prediction.slotWaitMs;
    numbers[row + PROMPTS_WAIT_MS] = prediction.promptsWaitMs;
    numbers[row + PER_TOKEN_MS] = prediction.perTokenMs;
    numbers[row + TOTAL_MS] = prediction.totalMs;
    numbers[row + DELAY_MS] = prediction.delayMs;
  }

  /** Whether it could serve. */
  serves(at: number): boolean {
    return this.#refused[at] === null;
  }

  score(at: number): number {
    return this.#numbers[ROW * at + SCORE] ?? 0;
  }

  slotWaitMs(at: number): number {
    return this.#numbers[ROW * at + SLOT_WAIT_MS] ?? 0;
  }

  /** Null: there is no such row. */
  at(at: number): Candidate | null {
    const worker = this.workers[at];
    if (worker === undefined) return null;
    return {
      worker,
      refused: this.#refused[at] ?? null,
      prediction: Number.isNaN(this.score(at)) ? null : this.#prediction(at),
      cachedTokens: this.#number(at, CACHED_TOKENS),
      score: this.score(at),
    };
  }

  *[Symbol.iterator](): Generator<Candidate> {
    for (let at = 0; at < this.workers.length; at++) {
      const candidate = this.at(at);
      if (candidate !== null) yield candidate;
    }
  }

  #prediction(at: number): Prediction {
    return {
      ttftMs: this.#number(at, TTFT_MS),
      slotWaitMs: this.slotWaitMs(at),
      promptsWaitMs: this.#number(at, PROMPTS_WAIT_MS),
      perTokenMs: this.#number(at, PER_TOKEN_MS),
      totalMs: this.#number(at, TOTAL_MS),
      delayMs: this.#number(at, DELAY_MS),
    };
  }

  #number(at: number, column: number): number {
    return this.#numbers[ROW * at + column] ?? 0;
  }
}
