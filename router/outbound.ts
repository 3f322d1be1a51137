/**
 * Outbound HTTP as the router and the relay see it: one request, events pushed as they come.
 * The Node adapter keeps connections of its own (gateway/outbound-node.ts), the Workers adapter is fetch.
 */
export interface OutboundRequest {
  readonly url: URL;
  readonly method: 'GET' | 'POST';
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** Longest wait for a connection. */
  readonly connectMs: number;
}

/** What the receiver of an answer implements. After `onEnd` or `onError` nothing more is called. */
export interface OutboundSink {
  /** The request has a connection and is being written. An adapter that cannot tell says so at once. */
  onSent(): void;
  onHead(status: number, headers: Readonly<Record<string, string | string[] | undefined>>): void;
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
