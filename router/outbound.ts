/**
 * Outbound HTTP as the router and the relay see it: one request, events pushed as they come.
 * The Node adapter keeps connections of its own (gateway/outbound-node.ts), the Workers adapter is fetch.
 */
export interface OutboundRequest {
  readonly target: Target;
  readonly method: 'GET' | 'POST';
  /** Beside those of its target. */
  readonly headers: Headers;
  readonly body?: string | Uint8Array;
  /** Longest wait for a connection. */
  readonly connectMs: number;
}

/** By names of ours in lower case. */
type Headers = Readonly<Record<string, string | number>>;

/** Where a request goes. It is kept for many: a URL makes each of its parts anew whenever it is asked. */
export interface Target {
  readonly url: URL;
  readonly origin: string;
  readonly host: string;
  /** With its query. */
  readonly path: string;
  /** Those of all requests that go there. */
  readonly headers: Headers;
}

/** Throws a TypeError on what is no URL. */
export function targetOf(text: string, headers: Headers = {}): Target {
  const url = new URL(text);
  return { url, origin: url.origin, host: url.host, path: url.pathname + url.search, headers };
}

/** What the receiver of an answer implements. After `onEnd` or `onError` nothing more is called. */
export interface OutboundSink {
  /** The request has a connection and is being written. An adapter that cannot tell says so at once. */
  onSent(): void;
  /** `contentType` is empty where nothing was said. */
  onHead(status: number, contentType: string): void;
  onData(chunk: Uint8Array): void;
  /** The answer is complete on the wire (the last HTTP chunk, or Content-Length bytes, arrived). */
  onEnd(): void;
  /** Connection refused, reset, closed early, or aborted by us. */
  onError(error: Error): void;
}

/** A request under way. */
export interface OutboundCall {
  /** Closes the connection; the sink hears `onError`. Harmless after the end. */
  abort(reason: Error): void;
  pause(): void;
  resume(): void;
}

/** Sends one request. The sink may be called before this has returned. */
export type Outbound = (request: OutboundRequest, sink: OutboundSink) => OutboundCall;
