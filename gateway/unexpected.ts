import { ApiError, apiError } from './errors.ts';
import type { Gateway } from './platform.ts';

/** Whatever was thrown, as an error that may leave the house. */
export function asApiError(gateway: Gateway, error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  gateway.platform.log.error({ err: error }, 'a request failed inside the gateway');
  return apiError('internal_error', 'The gateway failed inside, and logged it. Nothing was charged.');
}
