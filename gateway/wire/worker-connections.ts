/** The kept connections to workers, by origin: the last one used is used first, so that the others grow old and close. */
import type { Socket } from 'node:net';
import type { Target } from '../../router/outbound.ts';
import { now } from '../turn.ts';
import { WorkerConnection } from './worker-connection.ts';

export interface ConnectionsOptions {
  /** Opens a connection to an origin: tells it, or why there is none. */
  readonly connect: (origin: URL, done: (error: Error | null, socket: Socket | null) => void) => void;
  /** How long a connection is kept without a call. */
  readonly idleMs: number;
}

interface Idle {
  readonly connection: WorkerConnection;
  /** When it is too old for a call. */
  readonly untilMs: number;
}

const SWEEP_MS = 500;

export class WorkerConnections {
  readonly #options: ConnectionsOptions;
  readonly #all = new Set<WorkerConnection>();
  readonly #idle = new Map<string, Idle[]>();
  readonly #sweep: ReturnType<typeof setInterval>;
  #closed = false;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
    this.#sweep = setInterval(() => this.#closeOld(), SWEEP_MS);
    this.#sweep.unref();
  }

  /** A kept connection that is fit for a call, or null. It is the taker's until the call has ended. */
  take(origin: string): WorkerConnection | null {
    const last = this.#idle.get(origin)?.pop();
    if (last === undefined) return null;
    if (last.connection.isOpen && !isOld(last)) return last.connection;
    last.connection.close(new Error('idle'));
    return this.take(origin);
  }

  /** Opens another connection, the taker's too. */
  open({ url, origin }: Target, done: (error: Error | null, connection: WorkerConnection | null) => void): void {
    this.#options.connect(url, (error, socket) => {
      if (socket === null) return done(error ?? new Error('no connection'), null);
      if (this.#closed) {
        socket.destroy();
        return done(closed(), null);
      }
      const connection = new WorkerConnection(socket, {
        freed: (keptMs) => this.give(origin, connection, keptMs),
        gone: () => this.#forget(origin, connection),
      });
      this.#all.add(connection);
      done(null, connection);
    });
  }

  /** Gives a connection back that has no call. `keptMs` is for how long the other side keeps it. */
  give(origin: string, connection: WorkerConnection, keptMs = Number.POSITIVE_INFINITY): void {
    const idle = this.#idle.get(origin);
    const entry = { connection, untilMs: now() + Math.min(keptMs, this.#options.idleMs) };
    if (idle === undefined) this.#idle.set(origin, [entry]);
    else idle.push(entry);
  }

  /** Breaks off what runs. */
  close(): void {
    this.#closed = true;
    clearInterval(this.#sweep);
    for (const connection of this.#all) connection.close(closed());
  }

  #closeOld(): void {
    for (const idle of this.#idle.values())
      for (const { connection } of idle.filter(isOld)) connection.close(new Error('idle'));
  }

  #forget(origin: string, connection: WorkerConnection): void {
    this.#all.delete(connection);
    const idle = this.#idle.get(origin);
    const at = idle?.findIndex((entry) => entry.connection === connection) ?? -1;
    if (at >= 0) idle?.splice(at, 1);
    if (idle?.length === 0) this.#idle.delete(origin);
  }
}

function closed(): Error {
  return new Error('the gateway closes its connections');
}

function isOld({ untilMs }: Idle): boolean {
  return now() >= untilMs;
}
