/** How far away a worker is: one small round trip, apart from any inference. */
import { Deadline } from './deadline.ts';
import { fault } from './fault.ts';
import type { Fleet } from './fleet.ts';
import type { Outbound, OutboundCall, OutboundSink } from './outbound.ts';
import type { Worker } from './worker.ts';

export interface RttLimits {
  readonly connectMs: number;
  readonly signal: AbortSignal;
}

/** Longest wait for the answer of a model list; a slower one teaches nothing, and slow is not dead. */
const ANSWER_MS = 5000;

/**
 * Asks for the model list and learns the time from the request to the head. A connection that cannot be made is a fault, and a
 * refused key too; every other trouble is left to the checks. Resolves when the round trip is over, well or not.
 */
export function measureRtt(fleet: Fleet, worker: Worker, outbound: Outbound, limits: RttLimits): Promise<void> {
  return new Promise((resolve) => new RoundTrip(fleet, worker, resolve).start(outbound, limits));
}

class RoundTrip implements OutboundSink {
  readonly #fleet: Fleet;
  readonly #worker: Worker;
  readonly #deadline: Deadline;
  readonly #resolve: () => void;
  #call: OutboundCall | null = null;
  #sentAtMs: number | null = null;
  #signal: AbortSignal | null = null;
  readonly #stop = () => this.#call?.abort(new Error('stopped'));

  constructor(fleet: Fleet, worker: Worker, resolve: () => void) {
    this.#fleet = fleet;
    this.#worker = worker;
    this.#resolve = resolve;
    this.#deadline = new Deadline(fleet.now, () => this.#call?.abort(new Error('too slow')));
  }

  start(outbound: Outbound, { connectMs, signal }: RttLimits): void {
    const target = this.#worker.target('/v1/models');
    this.#call = outbound({ target, method: 'GET', headers: {}, connectMs }, this);
    this.#signal = signal;
    signal.addEventListener('abort', this.#stop);
  }

  onSent(): void {
    this.#sentAtMs = this.#fleet.now();
    this.#deadline.set(this.#sentAtMs + ANSWER_MS);
  }

  onHead(status: number): void {
    if (this.#sentAtMs !== null) this.#worker.times.learnRtt(this.#fleet.now() - this.#sentAtMs);
    if (status === 401 || status === 403) this.#fleet.blame(this.#worker, fault('credentials', `HTTP ${status}`));
  }

  onData(): void {}

  onEnd(): void {
    this.#finish();
  }

  onError(error: Error): void {
    if (this.#sentAtMs === null) this.#fleet.blame(this.#worker, fault('connect', error.message));
    this.#finish();
  }

  #finish(): void {
    this.#deadline.clear();
    this.#signal?.removeEventListener('abort', this.#stop);
    this.#resolve();
  }
}
