/** MPP, the `Payment` scheme of HTTP authentication, method `evm`, intent `charge`: bound to the body that it was offered for. */
import { Challenge, Credential, Receipt } from 'mppx';
import { Types } from 'mppx/evm';
import { z } from 'zod';
import { nanousdOf, unitsFor } from '../units.ts';
import { type Authorization, authorizationFields, paymentId, signatureField, walletId } from './authorization.ts';
import { BadPayment, type HeaderOf, type PaymentMethod } from './method.ts';
import { type Rail, requireOurs, type Terms } from './terms.ts';

export interface MppOptions extends Rail {
  /** What the host is called in its challenges. */
  readonly realm: string;
  /** Keys the HMAC by which a challenge is known as ours, without keeping any. */
  readonly secretKey: string;
}

/** Beside a key of ours, which is in `Authorization`. */
const SECOND_HEADER = 'Payment-Authorization';

const payload = z.object({ ...authorizationFields, type: z.literal('authorization'), signature: signatureField });

/** The method over our network and asset. */
export function mppMethod(options: MppOptions): PaymentMethod {
  const { terms, deposits, realm, secretKey } = options;
  const { network, payTo, timeoutSeconds } = terms;
  return {
    name: 'mpp',
    offer(charge) {
      const challenge = Challenge.from({
        secretKey,
        realm,
        method: Types.paymentMethod,
        intent: Types.chargeIntent,
        digest: charge.digest,
        expires: new Date(Date.now() + timeoutSeconds * 1_000).toISOString(),
        ...(charge.keyed ? { header: SECOND_HEADER } : {}),
        request: {
          amount: String(unitsFor(charge.amount)),
          currency: network.usdc.address,
          recipient: payTo,
          methodDetails: { chainId: network.chain.id, credentialTypes: ['authorization'], decimals: 6 },
        },
      });
      return { 'www-authenticate': Challenge.serialize(challenge) };
    },
    read(header) {
      const text = credentialIn(header);
      if (text === null) return null;
      const { challenge, authorization } = readCredential(text, options);
      return {
        id: paymentId(network.id, network.usdc.address, authorization),
        payer: walletId(network.id, authorization.from),
        name: null,
        amount: nanousdOf(authorization.value),
        digest: challenge.digest ?? null,
        refund: null,
        fund: (accountId) => deposits.fund('mpp', authorization, accountId),
        receipt: async ({ reference }) => {
          const timestamp = new Date().toISOString();
          const receipt = Receipt.from({ method: Types.paymentMethod, reference, status: 'success', timestamp });
          const headers = { 'payment-receipt': Receipt.serialize(receipt) };
          return () => headers;
        },
      };
    },
  };
}

function credentialIn(header: HeaderOf): string | null {
  const second = header(SECOND_HEADER.toLowerCase());
  const first = header('authorization');
  const isPayment = first !== undefined && /^payment\s/i.test(first);
  if (isPayment && second !== undefined) throw new BadPayment('Send one payment header, not several.');
  return isPayment ? first : (second ?? null);
}

function readCredential(text: string, { terms, secretKey, realm }: MppOptions) {
  const credential = deserialize(text);
  const { challenge } = credential;
  if (challenge.realm !== realm || !Challenge.verify(challenge, { secretKey }))
    throw new BadPayment('This challenge is not one of ours: ask for a new one.');
  if (challenge.expires === undefined || Date.parse(challenge.expires) <= Date.now())
    throw new BadPayment('This challenge has ended: ask for a new one.');
  const parsed = payload.safeParse(credential.payload);
  if (!parsed.success) throw new BadPayment('The payload is not an EIP-3009 authorization.');
  const { type: _, ...authorization } = parsed.data;
  requireAsked(challenge, authorization, terms);
  return { challenge, authorization };
}

function requireAsked(challenge: Challenge.Challenge, authorization: Authorization, terms: Terms): void {
  const request = Types.ChargeRequestSchema.parse(challenge.request);
  if (String(authorization.value) !== request.amount)
    throw new BadPayment(`Pay the ${request.amount} that were asked for.`);
  if (authorization.nonce !== Types.challengeHash(challenge))
    throw new BadPayment('The nonce is not that of the challenge.');
  requireOurs(terms, authorization);
}

function deserialize(text: string): Credential.Credential {
  try {
    return Credential.deserialize(text);
  } catch {
    throw new BadPayment('The payment is not base64url of JSON, or lacks members.');
  }
}
