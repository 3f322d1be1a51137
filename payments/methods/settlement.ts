/** Who sends a payer's authorization to the chain: our own keys, or a hosted facilitator whose word the chain is asked about. */
import { HTTPFacilitatorClient } from '@x402/core/http';
import type { PaymentPayload, PaymentRequirements } from '@x402/core/types';
import type { Authorization, Hex } from './authorization.ts';
import type { Evm } from './evm.ts';
import { NotSent, type Sender } from './sender.ts';

export interface Settlement {
  /** Sends the transfer; answers the transaction where it is known. Throws `NotSent` when it is certain that nothing left. */
  send(paymentId: string, authorization: Authorization): Promise<Hex | null>;
  /** Whether the transaction that it answers is the only one there can be: when that moved nothing, nothing was moved. */
  readonly isDecisive: boolean;
}

/** A transfer that a plain wallet signed needs 66 to 70 thousand. */
const PLAIN_GAS = 120_000n;
export const PLAIN_SIGNATURE_LENGTH = 132;

/** Sends with keys of our own. */
export function ownSettlement(evm: Evm, sender: Sender): Settlement {
  return {
    isDecisive: true,
    async send(paymentId, authorization) {
      const call = evm.transferCall(authorization);
      const gas = authorization.signature.length === PLAIN_SIGNATURE_LENGTH ? PLAIN_GAS : await gasOf(evm, call);
      return sender.send({ purpose: `payment:${paymentId}`, ...call, gas });
    },
  };
}

/** What a contract needs to check its own signature; a fifth more, as its state may change. */
export async function gasOf(evm: Evm, call: { to: Hex; data: Hex }): Promise<bigint> {
  const gas = await evm.client.estimateGas(call).catch((error: unknown) => {
    throw new NotSent('the chain does not answer', { cause: error });
  });
  return (gas * 6n) / 5n;
}

/** Asks a facilitator. Whatever it says, or fails to say, only the chain decides; its word is a hint where to look. */
export function hostedSettlement(
  facilitator: { url: string; key: string | null; timeoutMs: number },
  requirementsOf: (authorization: Authorization) => PaymentRequirements,
): Settlement {
  const authorized = { Authorization: `Bearer ${facilitator.key}` };
  const headers = { verify: authorized, settle: authorized, supported: authorized };
  const client = new HTTPFacilitatorClient({
    url: facilitator.url,
    timeoutMs: facilitator.timeoutMs,
    ...(facilitator.key === null ? {} : { createAuthHeaders: () => Promise.resolve(headers) }),
  });
  return {
    isDecisive: false,
    async send(_paymentId, authorization) {
      const accepted = requirementsOf(authorization);
      const said = await client.settle(payloadOf(authorization, accepted), accepted).catch(() => null);
      return said !== null && /^0x[0-9a-fA-F]{64}$/.test(said.transaction) ? (said.transaction as Hex) : null;
    },
  };
}

/** The authorization as x402 writes it, whichever protocol brought it. */
function payloadOf(authorization: Authorization, accepted: PaymentRequirements): PaymentPayload {
  const { from, to, value, validAfter, validBefore, nonce, signature } = authorization;
  const terms = { from, to, value, validAfter, validBefore };
  const texts = Object.fromEntries(Object.entries(terms).map(([name, term]) => [name, String(term)]));
  return { x402Version: 2, accepted, payload: { signature, authorization: { ...texts, nonce } } };
}
