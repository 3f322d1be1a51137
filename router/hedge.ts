/**
 * Asking a second worker beside one that is late: off unless the host wants it. At most one for a call, only for streams and before any
 * content, rarely; whoever is later is hung up on and paid nothing.
 */
import type { Attempt, AttemptEnd } from './attempt.ts';
import type { AttemptLimits } from './attempt-request.ts';
import type { Choice } from './pick.ts';

/** Of all calls, and of all their tokens, what may be asked for twice. */
const SHARE_OF_CALLS = 0.02;
const SHARE_OF_TOKENS = 0.05;
/** Not used at once, so much is kept. */
const CALLS_KEPT = 10;
const TOKENS_KEPT = 200_000;

export class HedgeBudget {
  #calls = 0;
  #tokens = 0;

  /** A call of so many tokens was sent. */
  earn(tokens: number): void {
    this.#calls = Math.min(CALLS_KEPT, this.#calls + SHARE_OF_CALLS);
    this.#tokens = Math.min(TOKENS_KEPT, this.#tokens + SHARE_OF_TOKENS * tokens);
  }

  /** Whether a second worker may be asked for so many tokens. */
  affords(tokens: number): boolean {
    return this.#calls >= 1 && this.#tokens >= tokens;
  }

  take(tokens: number): void {
    this.#calls -= 1;
    this.#tokens -= tokens;
  }
}

/** An attempt under way. */
export interface Try {
  readonly choice: Choice;
  readonly attempt: Attempt;
  readonly limits: AttemptLimits;
  readonly end: Promise<AttemptEnd>;
}

/** Which of two ends first. */
export function first(one: Try, other: Try): Promise<Try> {
  return Promise.race([one.end.then(() => one), other.end.then(() => other)]);
}

/** Resolves with true when the attempt has not ended after so long. */
export function isLate({ end }: Try, afterMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(true), afterMs);
    void end.then(() => {
      clearTimeout(timer);
      resolve(false);
    });
  });
}
