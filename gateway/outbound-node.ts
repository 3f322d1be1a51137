/** The outbound HTTP port on Node: undici's dispatch, every connection checked by the address guard. */
import { lookup } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { Agent, buildConnector, type Dispatcher } from 'undici';
import { checkAddress, type GuardOptions } from '../router/guard.ts';
import type { Outbound, OutboundCall, OutboundRequest, OutboundSink } from '../router/outbound.ts';
import { afterReads } from './turn.ts';

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
const MAX_HEAD_BYTES = 64 * 1024;

/** Builds the port. It follows no redirects, decodes nothing, retries nothing, and has no time limits but for connecting. */
export function createOutbound(options: OutboundOptions): NodeOutbound {
  const agent = new Agent({
    connect: guardedConnector(options),
    pipelining: 1, // one request per connection at a time: kept alive, never queued behind another
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MS,
    headersTimeout: 0,
    bodyTimeout: 0,
    maxHeaderSize: MAX_HEAD_BYTES,
  });
  return {
    outbound: (request, sink) => new Call(request, sink).start(agent),
    close: () => agent.destroy(),
  };
}

/** Connects to the very address that was checked: the check is the socket's own name lookup. */
function guardedConnector(options: OutboundOptions): buildConnector.connector {
  const connect = buildConnector({ timeout: options.connectMs, lookup: guardedLookup(options) });
  return (target, done) => {
    try {
      if (isIP(target.hostname)) checkAddress(target.hostname, options);
    } catch (error) {
      done(asError(error), null);
      return;
    }
    connect(target, done);
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

/** One request, between undici's handler interface and the port's sink. */
class Call implements OutboundCall, Dispatcher.DispatchHandler {
  readonly #request: OutboundRequest;
  readonly #sink: OutboundSink;
  #controller: Dispatcher.DispatchController | null = null;
  #connecting: ReturnType<typeof setTimeout> | undefined;
  /** Nothing more will come. */
  #over = false;
  /** What came in this turn of the event loop and was not told yet. */
  #head: { status: number; headers: Record<string, string | string[]> } | null = null;
  #chunks: Uint8Array[] = [];
  #error: Error | null = null;
  #tellIsDue = false;

  constructor(request: OutboundRequest, sink: OutboundSink) {
    this.#request = request;
    this.#sink = sink;
  }

  start(agent: Agent): this {
    const { url, method, headers, body, connectMs } = this.#request;
    const path = url.pathname + url.search;
    agent.dispatch({ origin: url.origin, path, method, headers, body: body ?? null }, this);
    if (this.#controller === null && !this.#over) {
      this.#connecting = setTimeout(() => this.abort(new Error(`no connection within ${connectMs} ms`)), connectMs);
    }
    return this;
  }

  abort(reason: Error): void {
    if (this.#over) return;
    if (this.#controller === null) this.#fail(reason);
    else this.#controller.abort(reason);
  }

  pause(): void {
    this.#controller?.pause();
  }

  resume(): void {
    this.#controller?.resume();
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    clearTimeout(this.#connecting);
    this.#controller = controller;
    if (this.#over) controller.abort(new Error('aborted before there was a connection'));
    else this.#sink.onSent();
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: Record<string, string | string[]>): void {
    const isFinal = status >= 200;
    if (!isFinal || this.#over) return;
    this.#head = { status, headers };
    this.#tellLater();
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Uint8Array): void {
    if (this.#over) return;
    this.#chunks.push(chunk);
    this.#tellLater();
  }

  onResponseEnd(): void {
    if (this.#over) return;
    this.#over = true;
    this.#tellLater();
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    this.#fail(error);
  }

  #fail(error: Error): void {
    clearTimeout(this.#connecting);
    if (this.#over) return;
    this.#over = true;
    this.#error = error;
    this.#tellLater();
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
    if (head !== null) this.#sink.onHead(head.status, head.headers);
    for (const chunk of chunks) this.#sink.onData(chunk);
    if (this.#error !== null) this.#sink.onError(this.#error);
    else if (this.#over) this.#sink.onEnd();
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
