/** What an attempt sends, and how long it is waited for. */
import type { OutboundRequest } from './outbound.ts';

/** The same for every attempt of a call. */
export interface AttemptRequest {
  /** API path, e.g. `/v1/chat/completions`. */
  readonly path: string;
  readonly body: string | Uint8Array;
  readonly stream: boolean;
  /** Sent as X-Request-Id; the engine makes its answer's id of it. */
  readonly callId: string;
  /** When the call must be over (monotonic ms); the worker is told what is left until then. */
  readonly deadlineAtMs?: number;
}

export interface AttemptLimits {
  readonly connectMs: number;
  /** From sending to first content; whole generations have no first content to wait for and are bounded by the signal. */
  readonly firstContentMs: number;
  /** Longest silence inside an answer. */
  readonly idleMs: number;
}

/** Of one attempt; the others are its target's. */
export function headersOf({ callId, deadlineAtMs }: AttemptRequest, nowMs: number): OutboundRequest['headers'] {
  if (deadlineAtMs === undefined) return { 'x-request-id': callId };
  const leftMs = Math.max(1, Math.floor(deadlineAtMs - nowMs));
  return { 'x-request-id': callId, 'x-request-timeout-ms': leftMs };
}
