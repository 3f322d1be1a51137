import { type HeadFields, toHeaders } from './head-fields.ts';

/** OpenAI's error types, where OpenAI has one for the case; its stock clients choose the class by status. */
type ErrorType =
  | 'invalid_request_error'
  | 'authentication_error'
  | 'request_forbidden'
  | 'insufficient_quota'
  | 'rate_limit_error'
  | 'server_error';

interface ErrorRow {
  readonly status: number;
  readonly type: ErrorType;
  /** The stock client repeats 408, 409, 429 and every 5xx unless told not to: here a repetition could only fail or pay again. */
  readonly neverRetry?: true;
}

/** Every code this gateway answers with, and what it means in HTTP and in OpenAI's terms. */
const rows = {
  invalid_json: { status: 400, type: 'invalid_request_error' },
  invalid_request: { status: 400, type: 'invalid_request_error' },
  context_length_exceeded: { status: 400, type: 'invalid_request_error' },
  invalid_api_key: { status: 401, type: 'authentication_error' },
  insufficient_balance: { status: 402, type: 'insufficient_quota' },
  payment_required: { status: 402, type: 'insufficient_quota' },
  payment_invalid: { status: 402, type: 'insufficient_quota' },
  channel_busy: { status: 402, type: 'insufficient_quota' },
  forbidden: { status: 403, type: 'request_forbidden' },
  not_found: { status: 404, type: 'invalid_request_error' },
  model_not_found: { status: 404, type: 'invalid_request_error' },
  method_not_allowed: { status: 405, type: 'invalid_request_error' },
  request_timeout: { status: 408, type: 'invalid_request_error' },
  answered_elsewhere: { status: 409, type: 'invalid_request_error' },
  answer_lost: { status: 409, type: 'invalid_request_error', neverRetry: true },
  request_in_progress: { status: 409, type: 'invalid_request_error' },
  payment_used: { status: 409, type: 'invalid_request_error', neverRetry: true },
  payment_identifier_used: { status: 409, type: 'invalid_request_error', neverRetry: true },
  body_too_large: { status: 413, type: 'invalid_request_error' },
  unsupported_media_type: { status: 415, type: 'invalid_request_error' },
  idempotency_mismatch: { status: 422, type: 'invalid_request_error' },
  rate_limited: { status: 429, type: 'rate_limit_error' },
  region_unavailable: { status: 451, type: 'request_forbidden' },
  internal_error: { status: 500, type: 'server_error', neverRetry: true },
  worker_failed: { status: 502, type: 'server_error' },
  no_worker: { status: 503, type: 'server_error' },
  overloaded: { status: 503, type: 'server_error' },
  ledger_unavailable: { status: 503, type: 'server_error' },
  payment_pending: { status: 503, type: 'server_error' },
  payments_unavailable: { status: 503, type: 'server_error' },
  deadline_exceeded: { status: 504, type: 'server_error', neverRetry: true },
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof rows;

export interface ErrorDetails {
  /** The request field at fault, as OpenAI names it: `messages[0].content`. */
  readonly param?: string;
  /** When the same request can succeed, in milliseconds from now. */
  readonly retryAfterMs?: number;
  /** Headers that belong to this answer alone: rate limits, payment challenges. */
  readonly headers?: HeadFields;
  /** Members that this answer alone has beside `error`: what a payment would be for. */
  readonly more?: Readonly<Record<string, unknown>>;
}

/** A refusal or failure that the caller may see: its message says what to do next and nothing about our inside. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: ErrorCode;
  readonly status: number;
  readonly type: string;
  readonly param: string | null;
  readonly retryAfterMs: number | null;
  readonly headers: HeadFields;
  readonly more: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, details: ErrorDetails) {
    super(message);
    this.code = code;
    this.status = rows[code].status;
    this.type = rows[code].type;
    this.param = details.param ?? null;
    this.retryAfterMs = details.retryAfterMs ?? null;
    this.headers = details.headers ?? {};
    this.more = details.more ?? {};
  }
}

/** The error to throw for `code`; status and type come from the table. */
export function apiError(code: ErrorCode, message: string, details: ErrorDetails = {}): ApiError {
  return new ApiError(code, message, details);
}

/** The JSON body of an error: OpenAI's four members, always all of them. Also the data of an error event in a stream. */
export function errorBody(error: ApiError): string {
  const { message, type, param, code } = error;
  return JSON.stringify({ error: { message, type, param, code }, ...error.more });
}

/**
 * The headers that this error adds to its answer. `retry-after` is in whole seconds, rounded up, `retry-after-ms` in milliseconds.
 * `x-should-retry: false` stops the stock client where a repetition cannot help: also a 429 that no waiting would cure.
 */
export function errorHeaders(error: ApiError): HeadFields {
  const headers: Record<string, string | number> = { ...error.headers };
  if (error.retryAfterMs !== null) {
    headers['retry-after'] = Math.ceil(error.retryAfterMs / 1_000);
    headers['retry-after-ms'] = Math.ceil(error.retryAfterMs);
  }
  const row: ErrorRow = rows[error.code];
  if (row.neverRetry || (error.code === 'rate_limited' && error.retryAfterMs === null)) {
    headers['x-should-retry'] = 'false';
  }
  return headers;
}

/** The whole answer that an error is. */
export function errorResponse(error: ApiError): Response {
  return new Response(errorBody(error), {
    status: error.status,
    headers: toHeaders({ 'content-type': 'application/json', ...errorHeaders(error) }),
  });
}
