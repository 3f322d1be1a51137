/** What the bench tells the load generator, and what comes back. Both travel over the channel between the processes. */

export interface Job {
  /** `http://127.0.0.1:…` of what is to be loaded. */
  readonly url: string;
  /** Connections, each with one call at a time. */
  readonly connections: number;
  /** Calls per second, at random moments, whether or not earlier ones have ended; null: each connection asks again at once. */
  readonly perSecond: number | null;
  readonly body: string;
  readonly stream: boolean;
  /** Each connection uses one of these; none where no key is asked for. */
  readonly keys: readonly string[];
  /** Of every request, beside the usual ones. */
  readonly headers: Readonly<Record<string, string>>;
  /** Of the calls, the share whose caller leaves after the first content. */
  readonly abortShare: number;
  /** Fetch the signed receipt of each call too. */
  readonly receipts: boolean;
  /** Connections begin one after another during this time, and nothing is counted in it. */
  readonly warmMs: number;
  readonly runMs: number;
}

/** Microseconds. Of an open loop they count from the moment at which the call was due. */
export interface Latencies {
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

export interface Loaded {
  /** Calls that ended properly within the time, and those of the whole job. */
  readonly calls: number;
  readonly allCalls: number;
  /** Callers that left, in the whole job. */
  readonly allAborted: number;
  /** Bytes of bodies within the time. */
  readonly bytes: number;
  readonly seconds: number;
  readonly whole: Latencies;
  /** To the first content of a stream; equal to `whole` where there was none. */
  readonly firstContent: Latencies;
  /** The first answers that were not as they should be, and how many there were. */
  readonly failures: number;
  readonly firstFailure: string | null;
}

export type Report =
  | { readonly event: 'counting' }
  | { readonly event: 'counted' }
  | { readonly event: 'done'; readonly loaded: Loaded };
