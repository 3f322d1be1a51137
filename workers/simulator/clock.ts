import { performance } from 'node:perf_hooks';

/** Time as the engine sees it, so that a test can run hours in no time. */
export interface Clock {
  /** Milliseconds since some fixed moment; never goes back. */
  nowMs(): number;
  /** Calls back once at that moment (or as soon as possible after); the result cancels. */
  at(momentMs: number, callback: () => void): () => void;
}

/** The machine's time. A moment that is due now is called in the next turn of the event loop. */
export const realClock: Clock = {
  nowMs: () => performance.now(),
  at(momentMs, callback) {
    const waitMs = momentMs - performance.now();
    if (waitMs <= 0.5) {
      const immediate = setImmediate(callback);
      return () => clearImmediate(immediate);
    }
    const timer = setTimeout(callback, waitMs);
    return () => clearTimeout(timer);
  },
};

/** Time that moves only when `advance` is called. */
export class VirtualClock implements Clock {
  private now = 0;
  private readonly waiting: { momentMs: number; callback: () => void }[] = [];

  nowMs(): number {
    return this.now;
  }

  at(momentMs: number, callback: () => void): () => void {
    const entry = { momentMs: Math.max(momentMs, this.now), callback };
    this.waiting.push(entry);
    return () => {
      const at = this.waiting.indexOf(entry);
      if (at >= 0) {
        this.waiting.splice(at, 1);
      }
    };
  }

  /** Moves time on and calls, in order, all that became due. */
  advance(byMs: number): void {
    const until = this.now + byMs;
    for (;;) {
      const next = this.waiting.reduce<number>((best, entry, at) => {
        const found = this.waiting[best];
        return found === undefined || entry.momentMs < found.momentMs ? at : best;
      }, 0);
      const entry = this.waiting[next];
      if (entry === undefined || entry.momentMs > until) {
        break;
      }
      this.waiting.splice(next, 1);
      this.now = entry.momentMs;
      entry.callback();
    }
    this.now = until;
  }
}
