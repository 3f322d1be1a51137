/** How x402's scheme `batch-settlement` names what is wrong with a payment: stock clients act on these words. */
import type { Fault, PaymentRefusal } from '../methods/method.ts';
import type { ChannelRow } from './rows.ts';

const faultOf = (name: string) => `invalid_batch_settlement_evm_${name}`;

/** The channel pays another request now. */
export const busy: PaymentRefusal = {
  code: 'busy',
  reason: 'this channel pays another call now: wait for its end, or open one with another salt',
  fault: { code: faultOf('channel_busy') },
};

export const notFound = refusal('channel_not_found', 'there is no such channel: deposit into it first');
export const badSignature = refusal('voucher_signature', 'this voucher is not signed by the key of its channel');
const aboveBalance = 'this voucher is above what was deposited';
export const shortDeposit = refusal('cumulative_exceeds_balance', aboveBalance);
export const depositFailed = refusal('deposit_transaction_failed', 'the deposit failed on the chain');
export const nothingToRefund = refusal('refund_no_balance', 'this channel has nothing left to give back');
export const badRefundAmount = refusal('refund_amount_invalid', 'a channel gives back more than nothing');
export const closing: PaymentRefusal = {
  code: 'invalid',
  reason: 'a withdrawal from this channel was requested: it pays no calls until that is over',
};

export function depositRefused(reason: string): PaymentRefusal {
  return { code: 'invalid', reason, fault: { code: faultOf('deposit_simulation_failed') } };
}

/** The voucher does not begin where the last one ended: tells the payer where that was, and proves it by its own signature. */
export function mismatch(row: ChannelRow): PaymentRefusal {
  const voucherState =
    row.signature === null
      ? {}
      : { voucherState: { signedMaxClaimable: String(row.ceiling), signature: row.signature } };
  return {
    code: 'invalid',
    reason: `this voucher does not begin at ${row.announced} units, where the last one ended`,
    fault: {
      code: faultOf('cumulative_amount_mismatch'),
      details: { channelState: stateOf(row, row.announced), ...voucherState },
    } satisfies Fault,
  };
}

/**
 * The voucher is above what the channel has. A client that missed a refund believes that there is more: told as a mismatch it asks the
 * chain, and deposits what is missing.
 */
export function exceeding(row: ChannelRow): PaymentRefusal {
  return { ...mismatch(row), reason: aboveBalance };
}

/** A channel as the protocol writes it. */
export function stateOf(row: ChannelRow, chargedUnits: bigint): Readonly<Record<string, unknown>> {
  return {
    channelId: row.id,
    balance: String(row.balance),
    totalClaimed: String(row.claimed),
    withdrawRequestedAt: parseInt(String(row.withdrawRequestedAt), 10),
    refundNonce: String(row.refundNonce),
    chargedCumulativeAmount: String(chargedUnits),
  };
}

function refusal(name: string, reason: string): PaymentRefusal {
  return { code: 'invalid', reason, fault: { code: faultOf(name) } };
}
