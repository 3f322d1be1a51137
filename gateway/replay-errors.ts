/** What a caller is told who sends a name again and is given neither the answer nor a new one. */
import { type ApiError, apiError } from './errors.ts';

export const KEY_LENGTH_MAX = 255;
const AGAIN_MS = 500;
const PARAM = { param: 'idempotency-key' } as const;

export function badKey(): ApiError {
  return apiError('invalid_request', `An Idempotency-Key has 1 to ${KEY_LENGTH_MAX} characters.`, PARAM);
}

/** Each way to name a request by the status that its own specification gives it. */
export function mismatch(byHeader = true): ApiError {
  if (!byHeader) {
    const used = 'This payment-identifier was used for another request: choose a new one.';
    return apiError('payment_identifier_used', used);
  }
  const message = 'This Idempotency-Key was used for another request: choose a new one.';
  return apiError('idempotency_mismatch', message, PARAM);
}

export function inProgress(): ApiError {
  const message = 'The request with this Idempotency-Key still runs: ask again for its answer.';
  return apiError('request_in_progress', message, { retryAfterMs: AGAIN_MS });
}

/** On a new connection the caller may meet the gateway, or the process of this one, that has the answer. */
export function elsewhere(callId: string | null): ApiError {
  const message = `The request with this Idempotency-Key ended, and another gateway has its answer: ask again on a new connection${orLook(callId)}.`;
  return apiError('answered_elsewhere', message, {
    ...PARAM,
    retryAfterMs: AGAIN_MS,
    headers: { connection: 'close' },
  });
}

export function lost(callId: string | null): ApiError {
  const message = `The request with this Idempotency-Key was served, and its answer is not kept any more: it does not run twice. Choose a new key${orLook(callId)}.`;
  return apiError('answer_lost', message, PARAM);
}

function orLook(callId: string | null): string {
  return callId === null ? '' : `, or see GET /v1/calls/${callId} for its charge`;
}
