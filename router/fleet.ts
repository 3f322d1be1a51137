/** Every worker that this gateway knows, by id and by model. */
import { CandidatePool } from './candidate-pool.ts';
import { explain, type Fault } from './fault.ts';
import { Overload } from './overload.ts';
import type { Prefix } from './prefix.ts';
import { PrefixIndex } from './prefix-index.ts';
import { WaitingRoom } from './waiting-room.ts';
import { Worker, type WorkerRecord, type WorkerState } from './worker.ts';

/** What a fleet needs from outside; `now` is a monotonic clock in milliseconds, `random` uniform in [0, 1). */
export interface FleetOptions {
  readonly now: () => number;
  readonly random: () => number;
  /** Told when a worker's life moves on by what this gateway saw, so that the registry can store it. */
  readonly onState?: (worker: Worker, state: WorkerState) => void;
}

/** A model that some worker serves. */
export interface FleetModel {
  readonly id: string;
  /** The longest context that any of its workers has. */
  readonly contextLength: number;
  readonly workers: number;
}

/** Ejected is whoever takes, on average, so many times longer than predicted on top, and exceeds its peers by such a factor. */
const EXCESS_MIN = 1;
const EXCESS_FACTOR = 3;
const PEERS_MIN = 2;
const NOBODY: readonly Worker[] = [];

/** The workers of a model, and what is the same for every call to it. */
interface Pool {
  readonly workers: Worker[];
  longestContext: number;
}

export class Fleet {
  readonly now: () => number;
  readonly random: () => number;
  readonly candidates: CandidatePool;
  readonly room: WaitingRoom;
  readonly overload = new Overload();
  readonly prefixes = new PrefixIndex();
  /** How many times as much as this gateway all others that share the fleet run; see shared-load.ts. */
  othersTimes = 0;
  /** Told of each prompt that is sent to a worker, and how many of its blocks the worker was expected to know. */
  onSent: ((worker: Worker, prefix: Prefix, known: number) => void) | null = null;
  readonly #onState: (worker: Worker, state: WorkerState) => void;
  readonly #workers = new Map<string, Worker>();
  readonly #pools = new Map<string, Pool>();

  constructor(options: FleetOptions) {
    this.now = options.now;
    this.random = options.random;
    this.candidates = new CandidatePool(options.random);
    this.room = new WaitingRoom(options.now);
    this.#onState = options.onState ?? (() => {});
  }

  /** Adds a worker, or takes over its changed record. Another address is another machine: nothing learned is kept. */
  upsert(record: WorkerRecord): Worker {
    let worker = this.#workers.get(record.id);
    if (worker !== undefined && worker.record.url === record.url) {
      worker.update(record);
    } else {
      worker?.mirror.leave();
      worker = new Worker(record, this.prefixes);
      this.#workers.set(record.id, worker);
    }
    this.#rebuildPools();
    return worker;
  }

  /** Forgets a worker. Calls that run there go on: they hold the worker themselves. */
  remove(id: string): void {
    const worker = this.#workers.get(id);
    if (worker === undefined) return;
    this.#workers.delete(id);
    this.candidates.forget(worker);
    worker.mirror.leave();
    this.#rebuildPools();
  }

  get(id: string): Worker | undefined {
    return this.#workers.get(id);
  }

  all(): Worker[] {
    return [...this.#workers.values()];
  }

  /** The workers registered for a model, whatever their state. */
  pool(model: string): readonly Worker[] {
    return this.#pools.get(model)?.workers ?? NOBODY;
  }

  /** The longest context that a worker of the model has. */
  longestContext(model: string): number {
    return this.#pools.get(model)?.longestContext ?? 0;
  }

  models(): FleetModel[] {
    return [...this.#pools].map(([id, pool]) => ({
      id,
      contextLength: pool.longestContext,
      workers: pool.workers.length,
    }));
  }

  /** Moves a worker's life on by what was seen. */
  mark(worker: Worker, state: WorkerState): void {
    if (worker.mark(state)) this.#onState(worker, state);
  }

  /** A worker has begun to answer. One that is always much slower than predicted, where its peers are not, is not well. */
  begun(worker: Worker, model: string): void {
    const own = worker.times.of(model).surprise;
    if (own.excess === null || own.excess < EXCESS_MIN) return;
    const others = this.pool(model).filter((peer) => peer !== worker);
    const excesses = others.map((peer) => peer.times.of(model).surprise.excess).filter((excess) => excess !== null);
    if (excesses.length < PEERS_MIN || own.excess < EXCESS_FACTOR * median(excesses)) return;
    own.forget();
    worker.complain('slow: much slower than it used to be, and than predicted, while others are not');
    worker.breaker.eject(this.now());
  }

  /** Counts a good answer of a worker, live or probed. */
  good(worker: Worker): void {
    if (worker.good(this.now())) this.#onState(worker, 'active');
  }

  /** Counts what a worker did wrong. A full one only rests a moment, one that refuses our key serves no more until it is mended, and a
   * model that is not there is looked for by the checks. */
  blame(worker: Worker, fault: Fault, model: string | null = null): void {
    worker.complain(explain(fault));
    // Whatever it was, the engine behind the address may be another one now.
    if (fault.reason === 'connect') worker.mirror.clear();
    if (fault.reason === 'load') worker.saturate(this.now());
    else if (fault.reason === 'not_found' && model !== null) worker.missing(model, this.now());
    else if (fault.reason === 'credentials') this.mark(worker, 'quarantined');
    else worker.breaker.fault(this.now());
  }

  #rebuildPools(): void {
    this.#pools.clear();
    for (const worker of this.#workers.values()) {
      for (const { id, contextLength } of worker.record.models) {
        const pool = this.#pools.get(id) ?? { workers: [], longestContext: 0 };
        this.#pools.set(id, pool);
        pool.workers.push(worker);
        pool.longestContext = Math.max(pool.longestContext, contextLength);
      }
    }
  }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
}
