import * as openai from 'openai';
import { expect, test } from 'vitest';
import { apiError, type ErrorCode, errorBody, errorHeaders } from './errors.ts';

test.each<[ErrorCode, number, new (...args: never[]) => openai.APIError]>([
  ['invalid_json', 400, openai.BadRequestError],
  ['invalid_request', 400, openai.BadRequestError],
  ['context_length_exceeded', 400, openai.BadRequestError],
  ['invalid_api_key', 401, openai.AuthenticationError],
  ['insufficient_balance', 402, openai.APIError],
  ['payment_required', 402, openai.APIError],
  ['payment_invalid', 402, openai.APIError],
  ['forbidden', 403, openai.PermissionDeniedError],
  ['not_found', 404, openai.NotFoundError],
  ['model_not_found', 404, openai.NotFoundError],
  ['method_not_allowed', 405, openai.APIError],
  ['request_timeout', 408, openai.APIError],
  ['request_in_progress', 409, openai.ConflictError],
  ['payment_used', 409, openai.ConflictError],
  ['payment_identifier_used', 409, openai.ConflictError],
  ['body_too_large', 413, openai.APIError],
  ['unsupported_media_type', 415, openai.APIError],
  ['idempotency_mismatch', 422, openai.UnprocessableEntityError],
  ['rate_limited', 429, openai.RateLimitError],
  ['region_unavailable', 451, openai.APIError],
  ['internal_error', 500, openai.InternalServerError],
  ['worker_failed', 502, openai.InternalServerError],
  ['no_worker', 503, openai.InternalServerError],
  ['overloaded', 503, openai.InternalServerError],
  ['ledger_unavailable', 503, openai.InternalServerError],
  ['payment_pending', 503, openai.InternalServerError],
  ['payments_unavailable', 503, openai.InternalServerError],
  ['deadline_exceeded', 504, openai.InternalServerError],
])('%s is status %i and the stock client raises its class with code, type, param and message', (code, status, kind) => {
  const error = apiError(code, 'Do this next.', { param: 'model' });
  expect(error.status).toBe(status);
  const raised = openai.APIError.generate(status, JSON.parse(errorBody(error)), undefined, new Headers());
  expect(raised).toBeInstanceOf(kind);
  expect(raised).toMatchObject({ code, type: error.type, param: 'model' });
  expect(raised.message).toContain('Do this next.');
});

test('an error body has all four members, null where there is nothing to say', () => {
  expect(JSON.parse(errorBody(apiError('overloaded', 'Try again.')))).toEqual({
    error: { message: 'Try again.', type: 'server_error', param: null, code: 'overloaded' },
  });
});

test('a time to wait is told in whole seconds and in milliseconds, never too short', () => {
  const headers = errorHeaders(apiError('rate_limited', 'Slow down.', { retryAfterMs: 1_200.4 }));
  expect(headers).toEqual({ 'retry-after': 2, 'retry-after-ms': 1201 });
});

test('an error brings the headers of its own answer along', () => {
  const error = apiError('rate_limited', 'Slow down.', {
    retryAfterMs: 1,
    headers: { 'x-ratelimit-limit-tokens': 5 },
  });
  expect(errorHeaders(error)).toMatchObject({ 'x-ratelimit-limit-tokens': 5, 'retry-after-ms': 1 });
});

test('the stock client is told not to repeat what can only fail again or pay twice', () => {
  expect(errorHeaders(apiError('deadline_exceeded', 'Too long.'))['x-should-retry']).toBe('false');
  expect(errorHeaders(apiError('internal_error', 'Unknown.'))['x-should-retry']).toBe('false');
  expect(errorHeaders(apiError('rate_limited', 'Larger than the limit itself.'))['x-should-retry']).toBe('false');
  expect(errorHeaders(apiError('overloaded', 'Try again.', { retryAfterMs: 500 }))['x-should-retry']).toBeUndefined();
});
