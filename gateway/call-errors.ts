/** What a caller is told whose call was not served, and why. */
import type { Dispatched } from '../router/dispatch.ts';
import type { Constraint } from '../router/refusal.ts';
import type { Call } from './call.ts';
import { type ApiError, apiError } from './errors.ts';

export function tooLate({ longestMs }: Call): ApiError {
  return apiError('deadline_exceeded', `No answer came within ${longestMs} ms. Nothing was charged.`);
}

/** Money paid in mends a balance, and no budget. */
export function tooDear({ fare }: Call, amount: bigint, available: bigint, budget: string | null): ApiError {
  const there = budget === null ? 'are available: top up' : `are left in the budget of ${budget}: use a key with more`;
  return apiError(
    'insufficient_balance',
    `This call can cost up to ${amount} nano-USD, and ${available} ${there}, or ask for fewer max_tokens.`,
    budget === null ? fare.offer(amount - available) : {},
  );
}

export function shuttingDown(): ApiError {
  return apiError('overloaded', 'This gateway is shutting down: ask again.', { retryAfterMs: 1_000 });
}

export function refusedByWorker(
  status: number,
  error: { message: string; param: string | null; code: string | number | null },
): ApiError {
  const tooLong = error.param === 'input_tokens' || error.param === 'input_text';
  const code = status === 413 ? 'body_too_large' : tooLong ? 'context_length_exceeded' : 'invalid_request';
  return apiError(code, error.message, error.param === null ? {} : { param: tooLong ? 'messages' : error.param });
}

export function failure(answer: Extract<Dispatched, { kind: 'failed' }>): ApiError {
  const details = answer.retryAfterMs === null ? {} : { retryAfterMs: answer.retryAfterMs };
  switch (answer.code) {
    case 'no_worker':
      return noWorker(answer.constraint, details);
    case 'overloaded':
      return apiError(
        'overloaded',
        overloads.get(answer.constraint) ?? 'All workers of this model are full: ask again.',
        details,
      );
    case 'region_unavailable':
      return apiError('region_unavailable', 'No worker in the allowed countries serves this model.', details);
    case 'deadline_exceeded':
      return apiError('deadline_exceeded', 'No worker began to answer in time. Nothing was charged.', details);
    case 'worker_failed':
      return apiError('worker_failed', 'Every worker that was tried failed. Nothing was charged.', details);
  }
}

function noWorker(constraint: Constraint | null, details: { retryAfterMs?: number }): ApiError {
  switch (constraint) {
    case 'endpoint':
      return apiError('invalid_request', 'This model does not serve this endpoint.', { param: 'model' });
    case 'operator':
    case 'worker':
      return apiError('no_worker', `No ${constraint} that you allow serves this model.`, {
        ...details,
        param: 'provider',
      });
    default:
      return apiError('no_worker', 'No worker can serve this model now: ask again.', details);
  }
}

/** What a caller is told who asked for more speed than there is, or came when too many wait. */
const overloads: ReadonlyMap<Constraint | null, string> = new Map([
  ['queue', 'So many wait for this model that it would take long: ask again when told.'],
  ['max_ttft_ms', 'No worker is expected to begin within your max_ttft_ms: ask again, or allow more.'],
  ['deadline_ms', 'No worker is expected to end within your deadline_ms: ask again, or allow more.'],
]);
