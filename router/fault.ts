/**
 * What went wrong on one attempt, and what follows from it: who is to blame, and what the caller may be told.
 */

/** Why an attempt did not deliver a good answer; the word that logs, metrics and receipts use. */
export type FaultReason =
  | 'connect' // no connection: refused, unknown host, TLS, or not in time
  | 'reset' // the connection broke before the first byte of the answer
  | 'cut_off' // the connection broke, or the answer ended, before it was complete
  | 'http_error' // a status that is no answer (5xx, unexpected 4xx, a redirect)
  | 'load' // 429 or 503: the worker is full, and says so
  | 'credentials' // 401 or 403: the worker does not take our key
  | 'not_found' // 404: the worker does not serve this path or model
  | 'error_event' // an error inside a stream that began with 200
  | 'abort_finish' // the engine aborted a generation that nobody asked it to abort
  | 'no_finish' // the stream says that it is done, but not every choice has finished
  | 'other_model' // the answer names another model than the one asked
  | 'malformed' // not the JSON, or not the events, that the API promises
  | 'false_refusal' // it refused as wrong what another worker served
  | 'outrun' // another worker, asked beside it, was sooner: no fault
  | 'first_content_timeout'
  | 'idle_timeout';

/** The end of an attempt that failed. */
export interface Fault {
  readonly reason: FaultReason;
  /** For operators and logs, never for callers. Sanitised. */
  readonly detail: string;
}

/** An OpenAI-shaped error as a worker said it, safe to show to a caller. */
export interface WorkerError {
  readonly message: string;
  readonly type: string;
  readonly param: string | null;
  readonly code: string | number | null;
}

/** The statuses with which a worker says that the request itself is wrong. */
export type RefusalStatus = 400 | 413 | 422;

/** How an HTTP status, or the code inside an error event, is judged. */
export type StatusVerdict =
  | { readonly kind: 'refused'; readonly status: RefusalStatus }
  | { readonly kind: 'fault'; readonly reason: FaultReason };

/** What an operator can do about a fault, where that is clear. */
const ADVICE: { readonly [reason in FaultReason]?: string } = {
  connect: 'Is the server running, and is its url reachable from the gateway?',
  credentials: "Register the worker again with engine_key set to the engine's --api-key.",
  not_found: 'Does the engine serve this model under this name, and this kind of call?',
  other_model: 'Register the model by the first name of --served-model-name.',
  false_refusal: 'Do all workers of this model run the same weights with the same flags (context length, tool parser)?',
  abort_finish: 'The engine was paused or stopped: drain the worker before that.',
};

const MAX_MESSAGE_CHARACTERS = 2000;

export function fault(reason: FaultReason, detail: string): Fault {
  return { reason, detail: sanitise(detail) };
}

/** A fault as its operator should read it: what happened, and what to do. */
export function explain({ reason, detail }: Fault): string {
  return [`${reason}: ${detail}`, ADVICE[reason]].filter(Boolean).join(' ');
}

/** Judges a status that is not 200; `inStream` for the code of an error event. */
export function judgeStatus(status: number, inStream = false): StatusVerdict {
  if (status === 400 || status === 413 || status === 422) return { kind: 'refused', status };
  if (status === 429 || status === 503) return { kind: 'fault', reason: 'load' };
  if (status === 401 || status === 403) return { kind: 'fault', reason: 'credentials' };
  if (status === 404) return { kind: 'fault', reason: 'not_found' };
  return { kind: 'fault', reason: inStream ? 'error_event' : 'http_error' };
}

/**
 * Brings the five shapes of vLLM's errors into one: `{"error":{…}}`, `{"error":"…"}`, `{"detail":…}`,
 * `{"type":"error","error":{…}}` and plain text. `body` is parsed JSON, or the text where it was not JSON.
 */
export function readWorkerError(body: unknown): WorkerError {
  const inner = isRecord(body) ? (body.error ?? body.detail ?? body) : body;
  const fields = isRecord(inner) ? inner : {};
  const message = typeof inner === 'string' ? inner : typeof fields.message === 'string' ? fields.message : '';
  return {
    message: sanitise(message) || 'The worker refused the request without saying why.',
    type: typeof fields.type === 'string' ? fields.type : 'invalid_request_error',
    param: typeof fields.param === 'string' ? fields.param : null,
    code: typeof fields.code === 'string' || typeof fields.code === 'number' ? fields.code : null,
  };
}

/** Takes out of a worker's text what tells about its machine: addresses, URLs, and paths of its file system. */
export function sanitise(text: string): string {
  return text
    .slice(0, MAX_MESSAGE_CHARACTERS)
    .replace(/\b[a-z][a-z0-9+.-]*:\/\/[^\s"'`)<>]+/gi, '<url>')
    .replace(/\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b/g, '<address>')
    .replace(/\[[0-9a-f]*:[0-9a-f:.]+\](?::\d+)?/gi, '<address>')
    .replace(/(?<![\w.<>/])\/(?:[\w.@-]+\/)+[\w.@-]+/g, (path) => (path.startsWith('/v1/') ? path : '<path>'));
}

/** Narrows parsed JSON to an object. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
