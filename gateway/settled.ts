import { withDeadline } from '../payments/retry.ts';
import { apiError } from './errors.ts';
import type { Gateway } from './platform.ts';

const SETTLE_WAIT_MS = 5_000;

/** Waits until every call that closed here is in the database. Throws `ledger_unavailable` when the database is away. */
export async function settled(gateway: Gateway): Promise<void> {
  await withDeadline(gateway.ledger.settler.drain(), SETTLE_WAIT_MS).catch(() => {
    throw apiError('ledger_unavailable', 'The database is away, nothing is lost: ask again.', { retryAfterMs: 1_000 });
  });
}
