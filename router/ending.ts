/**
 * Tells those who work for a call that it is to end, and why: what a call needs of an AbortController, without the event target that makes
 * one of those cost more than choosing a worker does. An AbortController fits wherever one of these does.
 */
export interface EndSignal {
  readonly aborted: boolean;
  /** What was given to `abort`. */
  readonly reason: unknown;
  addEventListener(type: 'abort', listener: () => void): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

export interface EndControl {
  readonly signal: EndSignal;
  /** Only the first time counts. */
  abort(reason: Error): void;
}

/** Its own signal. */
export class Ending implements EndControl, EndSignal {
  aborted = false;
  reason: unknown;
  #listeners: readonly (() => void)[] = NOBODY;

  get signal(): EndSignal {
    return this;
  }

  abort(reason: Error): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    const listeners = this.#listeners;
    this.#listeners = NOBODY;
    for (const listener of listeners) listener();
  }

  addEventListener(_: 'abort', listener: () => void): void {
    this.#listeners = [...this.#listeners, listener];
  }

  removeEventListener(_: 'abort', listener: () => void): void {
    this.#listeners = this.#listeners.filter((other) => other !== listener);
  }
}

const NOBODY: readonly (() => void)[] = [];
