/** A withdrawal or payout as its owner and the host see it. */
import { z } from 'zod';
import { getPayout, type Payout } from '../payments/payouts/booking.ts';
import type { Payouts } from '../payments/payouts/open.ts';
import { type ApiError, apiError } from './errors.ts';
import type { Gateway } from './platform.ts';
import { money } from './route-schemas.ts';

export const payoutSchema = z.strictObject({
  id: z.string(),
  object: z.literal('payout'),
  account: z.string().describe('whose money: `acct_…` or `op_…`'),
  reference: z.string(),
  nanousd: money,
  to: z.string().describe('the address of the wallet'),
  network: z.string().describe('by CAIP-2'),
  state: z
    .enum(['pending', 'paid', 'returned'])
    .describe('`returned`: the chain did not carry it out in time, the money is in the account again'),
  transaction: z.string().nullable().describe('the transaction that paid it'),
  reason: z.string().nullable().describe('what last stood in its way'),
  created_at: z.string(),
  settled_at: z.string().nullable(),
});

export const payoutExample = {
  id: 'po_0198f3c09d8e7c6b5a4f3e2d1c0b9a87',
  object: 'payout',
  account: 'op_0198f3a09d8e7c6b5a4f3e2d1c0b9a87',
  reference: 'november',
  nanousd: '41250000000',
  to: '0x70997970c51812dc3a010c7d01b50e0d17dc79c8',
  network: 'eip155:8453',
  state: 'paid',
  transaction: '0x8f3c1d6e5b4a39281706f5e4d3c2b1a09f8e7d6c5b4a39281706f5e4d3c2b1a0',
  reason: null,
  created_at: '2026-11-26T09:00:00.000Z',
  settled_at: '2026-11-26T09:00:08.120Z',
} as const satisfies z.input<typeof payoutSchema>;

export function payoutView(payout: Payout): z.input<typeof payoutSchema> {
  const { id, accountId, reference, amount, payee, network, state, transaction, reason, createdAt, settledAt } = payout;
  return {
    id,
    object: 'payout',
    account: accountId,
    reference,
    nanousd: String(amount),
    to: payee,
    network,
    state,
    transaction,
    reason,
    created_at: createdAt,
    settled_at: settledAt,
  };
}

/** Where money leaves this gateway. Throws `not_found` where it does not. */
export function requirePayouts(gateway: Gateway): Payouts {
  const payouts = gateway.payments?.payouts ?? null;
  if (payouts === null) throw apiError('not_found', 'This gateway has no treasury to pay wallets from.');
  return payouts;
}

/** Within so long most chains have carried it out; whoever asks need not ask again then. */
const PAID_WAIT_MS = 10_000;
const LOOK_EVERY_MS = 100;

/** Has payouts sent at once, and waits a while for the chain. */
export async function payNow(gateway: Gateway, booked: readonly Payout[]): Promise<Payout[]> {
  const { sql } = gateway.platform.database;
  const payouts = requirePayouts(gateway);
  payouts.hurry();
  let latest = [...booked];
  for (let leftMs = PAID_WAIT_MS; leftMs > 0; leftMs -= LOOK_EVERY_MS) {
    if (latest.every(({ state }) => state !== 'pending')) break;
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    latest = await Promise.all(
      latest.map(async (payout) => (await getPayout(sql, payout.accountId, payout.id)) ?? payout),
    );
  }
  return latest;
}

export function noPayout(): ApiError {
  return apiError('not_found', 'There is no payout of this id.');
}
