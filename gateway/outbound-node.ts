/** The outbound HTTP port on Node: kept connections to workers, each of them checked by the address guard. */
import { lookup } from 'node:dns';
import { isIP, type LookupFunction, type OnReadOpts, type Socket } from 'node:net';
import { buildConnector } from 'undici';
import { checkAddress, type GuardOptions } from '../router/guard.ts';
import type { Outbound, OutboundCall, OutboundRequest, OutboundSink } from '../router/outbound.ts';
import { afterReads, lookAtClock } from './turn.ts';
import type { CallReceiver, WorkerConnection } from './wire/worker-connection.ts';
import { type ConnectionsOptions, WorkerConnections } from './wire/worker-connections.ts';

export interface OutboundOptions extends GuardOptions {
  /** Longest life of a connection attempt (TCP and TLS); each request has its own, shorter or equal, limit. */
  readonly connectMs: number;
}

export interface NodeOutbound {
  readonly outbound: Outbound;
  /** Breaks off what runs and closes every connection. */
  close(): Promise<void>;
}

/** vLLM closes idle connections after exactly 5 s and without notice: ours close before. */
const KEEP_ALIVE_MS = 4000;
const READ_BYTES = 64 * 1024;

/** All connections read into one buffer and take a copy of what came: of its own accord Node allocates this much for every read of each. */
const oneBuffer: OnReadOpts = {
  buffer: Buffer.allocUnsafeSlow(READ_BYTES),
  callback(this: Socket, bytes: number, buffer: Uint8Array): boolean {
    this.emit('data', Buffer.from(buffer.subarray(0, bytes)));
    return true;
  },
};

/** Builds the port. It follows no redirects, decodes nothing, retries nothing, and has no time limits but for connecting. */
export function createOutbound(options: OutboundOptions): NodeOutbound {
  const connections = new WorkerConnections({ connect: guardedConnector(options), idleMs: KEEP_ALIVE_MS });
  return {
    outbound: (request, sink) => new Call(request, sink, connections).start(),
    close: async () => connections.close(),
  };
}

/** Connects to the very address that was checked: the check is the socket's own name lookup. */
function guardedConnector(options: OutboundOptions): ConnectionsOptions['connect'] {
  const how = { timeout: options.connectMs, lookup: guardedLookup(options) };
  const connectTcp = buildConnector({ ...how, onread: oneBuffer });
  const connectTls = buildConnector(how);
  return ({ hostname, host, protocol, port }, done) => {
    // As the URL has it, an IPv6 address stands in brackets.
    const name = hostname.replace(/^\[(.*)\]$/, '$1');
    try {
      if (isIP(name)) checkAddress(name, options);
    } catch (error) {
      done(asError(error), null);
      return;
    }
    const connect = protocol === 'https:' ? connectTls : connectTcp;
    connect({ hostname: name, host, protocol, port }, (error, socket) => done(error, error === null ? socket : null));
  };
}

function guardedLookup(guard: GuardOptions): LookupFunction {
  return (name, how, done) => {
    lookup(name, { ...how, all: true }, (error, addresses) => {
      const first = addresses?.[0];
      if (error !== null || first === undefined) return done(error ?? new Error('the name has no address'), '');
      try {
        for (const { address } of addresses) checkAddress(address, guard);
      } catch (refusal) {
        return done(asError(refusal), '');
      }
      if (how.all === true) done(null, addresses);
      else done(null, first.address, first.family);
    });
  };
}

/** One request, between its connection and the port's sink, which hears what came in one turn of the event loop together. */
class Call implements OutboundCall, CallReceiver {
  readonly #request: OutboundRequest;
  readonly #sink: OutboundSink;
  readonly #connections: WorkerConnections;
  #connection: WorkerConnection | null = null;
  #connecting: ReturnType<typeof setTimeout> | undefined;
  /** Nothing more will come. */
  #over = false;
  /** What came and was not told yet. */
  #head: { status: number; contentType: string } | null = null;
  #chunks: Uint8Array[] = [];
  #error: Error | null = null;
  #tellIsDue = false;

  constructor(request: OutboundRequest, sink: OutboundSink, connections: WorkerConnections) {
    this.#request = request;
    this.#sink = sink;
    this.#connections = connections;
  }

  start(): this {
    const { target, connectMs } = this.#request;
    const kept = this.#connections.take(target.origin);
    if (kept !== null) this.#send(kept);
    else {
      this.#connecting = setTimeout(() => this.onError(new Error(`no connection within ${connectMs} ms`)), connectMs);
      this.#connections.open(target, (error, connection) => {
        clearTimeout(this.#connecting);
        if (connection !== null) this.#send(connection);
        else this.onError(error ?? new Error('no connection'));
      });
    }
    return this;
  }

  abort(reason: Error): void {
    if (this.#over) return;
    if (this.#connection === null) this.onError(reason);
    else this.#connection.close(reason);
  }

  pause(): void {
    if (!this.#over) this.#connection?.pause();
  }

  resume(): void {
    if (!this.#over) this.#connection?.resume();
  }

  onHead(status: number, contentType: string): void {
    this.#head = { status, contentType };
    this.#tellLater();
  }

  onBody(bytes: Uint8Array): void {
    this.#chunks.push(bytes);
    this.#tellLater();
  }

  onEnd(): void {
    this.#over = true;
    this.#tellLater();
  }

  onError(error: Error): void {
    clearTimeout(this.#connecting);
    if (this.#over) return;
    this.#over = true;
    this.#error = error;
    this.#tellLater();
  }

  /** A connection that comes too late is the next one's. */
  #send(connection: WorkerConnection): void {
    if (this.#over) {
      this.#connections.give(this.#request.target.origin, connection);
      return;
    }
    this.#connection = connection;
    lookAtClock();
    this.#sink.onSent();
    try {
      connection.send(this.#request, this);
    } catch (error) {
      this.#connections.give(this.#request.target.origin, connection);
      this.onError(asError(error));
    }
  }

  #tellLater(): void {
    if (this.#tellIsDue) return;
    this.#tellIsDue = true;
    afterReads(() => this.#tell());
  }

  #tell(): void {
    const head = this.#head;
    const chunks = this.#chunks;
    this.#tellIsDue = false;
    this.#head = null;
    this.#chunks = [];
    if (head !== null) this.#sink.onHead(head.status, head.contentType);
    for (const chunk of chunks) this.#sink.onData(chunk);
    if (this.#error !== null) this.#sink.onError(this.#error);
    else if (this.#over) this.#sink.onEnd();
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
