/** x402's scheme `exact`: the whole amount is settled before the answer begins (`paymentFlow: "upfront"`). */
import { encodePaymentResponseHeader } from '@x402/core/http';
import type { PaymentRequirements } from '@x402/core/types';
import { z } from 'zod';
import { nanousdOf, unitsFor } from '../units.ts';
import { authorizationFields, paymentId, signatureField, walletId } from './authorization.ts';
import { BadPayment } from './method.ts';
import { addressIn, type Sign, signedReceipt } from './offer-receipt.ts';
import { type Rail, requireOurs, type Terms } from './terms.ts';
import { requireAccepted, requirementsOf, type Scheme } from './x402.ts';

const NAME = 'exact';

const payload = z.object({ authorization: z.object(authorizationFields), signature: signatureField });

export interface ExactOptions extends Rail {
  /** Null where the host has no name. */
  readonly sign: Sign | null;
}

export function exactScheme({ terms, deposits, sign }: ExactOptions): Scheme {
  const { network } = terms;
  return {
    name: NAME,
    requirements: (charge) => requirements(terms, unitsFor(charge.amount)),
    read({ accepted, payload: sent }) {
      const { authorization: unsigned, signature } = payload.parse(sent);
      const authorization = { ...unsigned, signature };
      requireAccepted(accepted, requirements(terms, authorization.value));
      requireDomain(terms, accepted.extra);
      requireOurs(terms, authorization);
      return {
        id: paymentId(network.id, network.usdc.address, authorization),
        payer: walletId(network.id, authorization.from),
        amount: nanousdOf(authorization.value),
        digest: null,
        refund: null,
        fund: (accountId) => deposits.fund('x402', authorization, accountId),
        receipt: async (funded, url) => {
          const settled = {
            success: true,
            transaction: funded.reference,
            network: network.id,
            payer: addressIn(funded.payer),
            amount: String(authorization.value),
            ...(await signedReceipt(sign, funded, url)),
          };
          const headers = { 'payment-response': encodePaymentResponseHeader(settled) };
          return () => headers;
        },
      };
    },
  };
}

/** What `exact` asks for, so many units of the asset. */
export function requirements({ network, payTo, timeoutSeconds }: Terms, units: bigint): PaymentRequirements {
  return requirementsOf(network, { scheme: NAME, units, payTo, timeoutSeconds, extra: { paymentFlow: 'upfront' } });
}

function requireDomain({ network }: Terms, extra: Readonly<Record<string, unknown>> = {}): void {
  for (const name of ['name', 'version'] as const) {
    if (extra[name] === network.usdc[name]) continue;
    throw new BadPayment(`This payment's extra.${name} is ${String(extra[name])}: expected ${network.usdc[name]}.`);
  }
}
