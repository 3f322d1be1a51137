/** x402, version 2, scheme `exact`: the whole amount is settled before the answer begins (`paymentFlow: "upfront"`). */
import {
  decodePaymentSignatureHeader,
  encodePaymentRequiredHeader,
  encodePaymentResponseHeader,
} from '@x402/core/http';
import type { PaymentRequirements } from '@x402/core/types';
import { z } from 'zod';
import { nanousdOf, unitsFor } from '../units.ts';
import { type Authorization, authorizationFields, paymentId, signatureField, walletId } from './authorization.ts';
import { BadPayment, type Funded, type PaymentMethod } from './method.ts';
import type { SignIn } from './sign-in.ts';
import { type Rail, requireOurs, type Terms } from './terms.ts';

const SCHEME = 'exact';
const VERSION = 2;
/** The header of version 2, and that of version 1, which some clients still write version 2 into. */
const HEADERS = ['payment-signature', 'x-payment'] as const;

/** The extension by which clients name a request. */
const IDENTIFIER = 'payment-identifier';
const identifier = z.string().regex(/^[\w-]{16,128}$/);

const credential = z.object({
  x402Version: z.literal(VERSION, 'expected x402 version 2'),
  accepted: z.object({
    scheme: z.literal(SCHEME),
    network: z.string(),
    asset: z.string(),
    payTo: z.string(),
    amount: z.string(),
    extra: z.looseObject({ name: z.string().optional(), version: z.string().optional() }).optional(),
  }),
  payload: z.object({ authorization: z.object(authorizationFields), signature: signatureField }),
  extensions: z
    .looseObject({ [IDENTIFIER]: z.object({ info: z.object({ id: identifier.optional() }) }).optional() })
    .optional(),
});

export interface X402Options extends Rail {
  /** Null where wallets cannot sign in. */
  readonly signIn: SignIn | null;
  /** Signs a statement in the host's name; null where it has none. */
  readonly sign: ((statement: object) => Promise<string>) | null;
}

/** The method over our network and asset. */
export function x402Method({ terms, deposits, signIn, sign }: X402Options): PaymentMethod {
  const { network } = terms;
  return {
    name: 'x402',
    offer(charge) {
      const { url, description } = charge;
      const required = {
        x402Version: VERSION,
        error: charge.error ?? 'Payment required',
        resource: { url, description, mimeType: 'application/json' },
        accepts: [requirements(terms, unitsFor(charge.amount))],
        extensions: {
          [IDENTIFIER]: { info: { required: false } },
          // Whoever sent a key has no need to sign in.
          ...(signIn === null || charge.keyed ? {} : signIn.extension()),
        },
      };
      return { 'payment-required': encodePaymentRequiredHeader(required) };
    },
    read(header) {
      const [first, second] = HEADERS.map(header).filter((text) => text !== undefined);
      if (first === undefined) return null;
      if (second !== undefined) throw new BadPayment('Send one payment header, not several.');
      const { authorization, name } = readCredential(first, terms);
      return {
        id: paymentId(network.id, network.usdc.address, authorization),
        payer: walletId(network.id, authorization.from),
        name,
        amount: nanousdOf(authorization.value),
        digest: null,
        fund: (accountId) => deposits.fund('x402', authorization, accountId),
        receipt: async (funded, url) => {
          const payer = funded.payer.slice(funded.payer.lastIndexOf(':') + 1);
          const settled = {
            success: true,
            transaction: funded.reference,
            network: network.id,
            payer,
            amount: String(authorization.value),
            ...(sign === null ? {} : { extensions: await signedReceipt(sign, funded, payer, url) }),
          };
          return { 'payment-response': encodePaymentResponseHeader(settled) };
        },
      };
    },
  };
}

/** The extension `offer-receipt`: that this was paid, and what for, signed; the members in the order of their names, as it has them. */
async function signedReceipt(
  sign: (statement: object) => Promise<string>,
  { network, reference }: Funded,
  payer: string,
  resourceUrl: string,
) {
  const issuedAt = Date.now() / 1_000;
  const statement = {
    issuedAt: issuedAt - (issuedAt % 1),
    network,
    payer,
    resourceUrl,
    transaction: reference,
    version: 1,
  };
  return { 'offer-receipt': { info: { receipt: { format: 'jws', signature: await sign(statement) } } } };
}

/** What `exact` asks for, so many units of the asset. */
export function requirements({ network, payTo, timeoutSeconds }: Terms, units: bigint): PaymentRequirements {
  const { address, name, version } = network.usdc;
  return {
    scheme: SCHEME,
    network: network.id,
    amount: String(units),
    asset: address,
    payTo,
    maxTimeoutSeconds: timeoutSeconds,
    extra: { name, version, paymentFlow: 'upfront' },
  };
}

function readCredential(text: string, terms: Terms): { authorization: Authorization; name: string | null } {
  const parsed = credential.safeParse(decode(text));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new BadPayment(`The payment is wrong at ${issue?.path.join('.')}: ${issue?.message}.`);
  }
  const { accepted, payload, extensions } = parsed.data;
  const { extra, ...ours } = requirements(terms, payload.authorization.value);
  for (const name of ['network', 'asset', 'payTo', 'amount'] as const) {
    if (accepted[name].toLowerCase() === ours[name].toLowerCase()) continue;
    throw new BadPayment(`This payment's ${name} is ${accepted[name]}: expected ${ours[name]}.`);
  }
  for (const name of ['name', 'version'] as const) {
    if (accepted.extra?.[name] === extra[name]) continue;
    throw new BadPayment(`This payment's extra.${name} is ${accepted.extra?.[name]}: expected ${extra[name]}.`);
  }
  const authorization = { ...payload.authorization, signature: payload.signature };
  requireOurs(terms, authorization);
  return { authorization, name: extensions?.[IDENTIFIER]?.info.id ?? null };
}

function decode(text: string): unknown {
  try {
    return decodePaymentSignatureHeader(text);
  } catch {
    throw new BadPayment('The payment header is not base64 of JSON.');
  }
}
