import { isTransient } from '../payments/retry.ts';
import { ApiError, apiError } from './errors.ts';
import { CallerLeft } from './exchange.ts';
import type { Gateway } from './platform.ts';

const RETRY_AFTER_MS = 1_000;

/** Whatever was thrown, as an error that may leave the house. */
export function asApiError(gateway: Gateway, error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof CallerLeft) return apiError('invalid_request', error.message);
  if (isTransient(error))
    return apiError('ledger_unavailable', 'The database is away: ask again.', { retryAfterMs: RETRY_AFTER_MS });
  gateway.platform.log.error({ err: error }, 'a request failed inside the gateway');
  return apiError('internal_error', 'The gateway failed inside, and logged it. Nothing was charged.');
}
