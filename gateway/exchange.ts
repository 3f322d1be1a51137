/**
 * One call's transport as completions.ts sees it. On Node it is the raw request and response that Hono hands over
 * (measured at 1.04 times a bare pass-through, where Request and Response objects cost 4.8), on Workers a stream.
 */
export interface Exchange {
  header(name: string): string | undefined;
  /** The whole body. Throws `body_too_large` or `request_timeout`. */
  body(): Promise<Uint8Array>;
  /** Fires when the caller leaves before the end of the answer. */
  readonly signal: AbortSignal;
  /** True once `head` was called: from then on an error can only travel in the stream. */
  readonly headSent: boolean;
  head(status: number, headers: Readonly<Record<string, string>>): void;
  /** Returns false when the caller reads too slowly: wait for `drained`. */
  write(bytes: Uint8Array | string): boolean;
  drained(): Promise<void>;
  end(bytes?: Uint8Array | string): void;
}
