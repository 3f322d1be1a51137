/**
 * When a worker is taken out of service for its faults, and how it comes back. Decisions only: no timers, no transport.
 * Constants: research on routing, "Ejection". Callers' errors, hang-ups and full queues are never reported here.
 */
const CONSECUTIVE_FAULTS = 5;
const WINDOW_S = 30;
const WINDOW_MIN_CALLS = 20;
const WINDOW_FAULT_RATE = 0.5;
const FIRST_EJECTION_MS = 10_000;
const LONGEST_EJECTION_MS = 300_000;
/** One that comes back has its full share only after this time. */
const SLOW_START_MS = 60_000;
/** What it begins with. */
const FIRST_SHARE = 0.1;

/** closed serves; open is ejected; half_open serves one trial call, whose end decides. */
export type BreakerState = 'closed' | 'open' | 'half_open';

/** The calls of one second. */
interface Second {
  second: number;
  calls: number;
  faults: number;
}

/** The breaker of one worker. All times are of one monotonic clock, in milliseconds. */
export class Breaker {
  #consecutive = 0;
  #window: Second[] = [];
  #openUntilMs: number | null = null;
  #ejections = 0;
  #closedAtMs = 0;
  #trial = false;

  state(nowMs: number): BreakerState {
    if (this.#openUntilMs === null) return 'closed';
    return nowMs < this.#openUntilMs ? 'open' : 'half_open';
  }

  /** Whether a call may go to the worker now: always when closed, one trial at a time when half open. */
  admits(nowMs: number): boolean {
    const state = this.state(nowMs);
    return state === 'closed' || (state === 'half_open' && !this.#trial);
  }

  /** When a worker that is ejected may be tried again. */
  get openUntilMs(): number | null {
    return this.#openUntilMs;
  }

  /** Share of its usual room that a worker may be given now, 0 to 1. */
  shareAt(nowMs: number): number {
    if (this.#ejections === 0) return 1;
    return Math.min(1, FIRST_SHARE + (nowMs - this.#closedAtMs) / SLOW_START_MS);
  }

  /** A call begins; half open, it becomes the trial. Returns whether it did: hand that to `endTrial`. */
  begin(nowMs: number): boolean {
    const trial = this.state(nowMs) === 'half_open' && !this.#trial;
    if (trial) this.#trial = true;
    return trial;
  }

  /** The trial call is over, whatever came of it. */
  endTrial(): void {
    this.#trial = false;
  }

  /** A good answer. It closes a breaker that is not closed: the worker has shown that it works. */
  success(nowMs: number): void {
    this.#count(nowMs, false);
    this.#consecutive = 0;
    if (this.#openUntilMs === null) return;
    this.#openUntilMs = null;
    this.#closedAtMs = nowMs;
    this.#window = [];
  }

  /** A fault of the worker. Returns true when it ejected the worker. */
  fault(nowMs: number): boolean {
    const state = this.state(nowMs);
    if (state === 'open') return false;
    this.#count(nowMs, true);
    this.#consecutive += 1;
    if (state === 'closed' && !this.#tooMany()) return false;
    this.eject(nowMs);
    return true;
  }

  /** Takes the worker out of service for a while, longer each time. */
  eject(nowMs: number): void {
    if (this.#openUntilMs === null && nowMs - this.#closedAtMs > LONGEST_EJECTION_MS) this.#ejections = 0;
    this.#openUntilMs = nowMs + Math.min(FIRST_EJECTION_MS * 2 ** this.#ejections, LONGEST_EJECTION_MS);
    this.#ejections += 1;
    this.#consecutive = 0;
    this.#window = [];
  }

  #tooMany(): boolean {
    if (this.#consecutive >= CONSECUTIVE_FAULTS) return true;
    let calls = 0;
    let faults = 0;
    for (const second of this.#window) {
      calls += second.calls;
      faults += second.faults;
    }
    return calls >= WINDOW_MIN_CALLS && faults > calls * WINDOW_FAULT_RATE;
  }

  #count(nowMs: number, isFault: boolean): void {
    const second = Math.floor(nowMs / 1000);
    let last = this.#window.at(-1);
    if (last?.second !== second) {
      last = { second, calls: 0, faults: 0 };
      this.#window.push(last);
      while ((this.#window[0]?.second ?? second) <= second - WINDOW_S) this.#window.shift();
    }
    last.calls += 1;
    if (isFault) last.faults += 1;
  }
}
