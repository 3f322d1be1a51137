/** x402, version 2: its headers. What is paid, and how, is a matter of its schemes. */
import { decodePaymentSignatureHeader, encodePaymentRequiredHeader } from '@x402/core/http';
import type { PaymentRequirements } from '@x402/core/types';
import { z } from 'zod';
import type { Network } from '../chain/networks.ts';
import type { Hex } from './authorization.ts';
import { BadPayment, type Charge, type Payment, type PaymentMethod } from './method.ts';
import type { SignIn } from './sign-in.ts';

const VERSION = 2;
/** The header of version 2, and that of version 1, which some clients still write version 2 into. */
const HEADERS = ['payment-signature', 'x-payment'] as const;

/** The extension by which clients name a request. */
const IDENTIFIER = 'payment-identifier';
const identifier = z.string().regex(/^[\w-]{16,128}$/);

export const credential = z.object({
  x402Version: z.literal(VERSION, 'expected x402 version 2'),
  accepted: z.object({
    scheme: z.string(),
    network: z.string(),
    asset: z.string(),
    payTo: z.string(),
    amount: z.string(),
    extra: z.looseObject({}).optional(),
  }),
  payload: z.unknown(),
  extensions: z
    .looseObject({ [IDENTIFIER]: z.object({ info: z.object({ id: identifier.optional() }) }).optional() })
    .optional(),
});

export type Credential = z.output<typeof credential>;
export type Accepted = Credential['accepted'];

/** One way to pay by x402. */
export interface Scheme {
  readonly name: string;
  /** What it asks for; null: it cannot pay this. */
  requirements(charge: Charge): PaymentRequirements | null;
  /** Members of the offer's `extensions`. */
  extensions?(charge: Charge): Readonly<Record<string, unknown>>;
  /** The payment that a client made of its offer. Throws `BadPayment`, and a ZodError for what is not of its shape. */
  read(credential: Credential): Omit<Payment, 'name'>;
}

/** The method over its schemes, in the order in which they are offered. `signIn`: null where wallets cannot sign in. */
export function x402Method(schemes: readonly Scheme[], signIn: SignIn | null): PaymentMethod {
  return {
    name: 'x402',
    offer(charge) {
      const { url, description } = charge;
      const required = {
        x402Version: VERSION,
        error: charge.fault?.code ?? charge.error ?? 'Payment required',
        resource: { url, description, mimeType: 'application/json' },
        accepts: schemes.map((scheme) => scheme.requirements(charge)).filter((asked) => asked !== null),
        extensions: {
          [IDENTIFIER]: { info: { required: false } },
          // Whoever sent a key has no need to sign in.
          ...(signIn === null || charge.keyed ? {} : signIn.extension()),
          ...Object.assign({}, ...schemes.map((scheme) => scheme.extensions?.(charge))),
        },
      };
      return { 'payment-required': encodePaymentRequiredHeader(required) };
    },
    read(header) {
      const [first, second] = HEADERS.map(header).filter((text) => text !== undefined);
      if (first === undefined) return null;
      if (second !== undefined) throw new BadPayment('Send one payment header, not several.');
      try {
        const sent = credential.parse(decode(first));
        const scheme = schemes.find(({ name }) => name === sent.accepted.scheme);
        if (scheme === undefined)
          throw new BadPayment(
            `This payment's scheme is ${sent.accepted.scheme}: it is none of those that are offered.`,
          );
        return { ...scheme.read(sent), name: sent.extensions?.[IDENTIFIER]?.info.id ?? null };
      } catch (error) {
        if (!(error instanceof z.ZodError)) throw error;
        const [issue] = error.issues;
        throw new BadPayment(`The payment is wrong at ${issue?.path.join('.')}: ${issue?.message}.`);
      }
    },
  };
}

/** What a scheme asks for, so many units of our asset; `extra`: what it says beside the asset's own name and version. */
export function requirementsOf(
  { usdc, id }: Network,
  asked: {
    scheme: string;
    units: bigint;
    payTo: Hex;
    timeoutSeconds: number;
    extra: Readonly<Record<string, unknown>>;
  },
): PaymentRequirements {
  const { scheme, units, payTo, timeoutSeconds, extra } = asked;
  return {
    scheme,
    network: id,
    amount: String(units),
    asset: usdc.address,
    payTo,
    maxTimeoutSeconds: timeoutSeconds,
    extra: { name: usdc.name, version: usdc.version, ...extra },
  };
}

/** What a client says that it accepted must be what was offered. */
export function requireAccepted(accepted: Accepted, ours: PaymentRequirements): void {
  for (const name of ['network', 'asset', 'payTo', 'amount'] as const) {
    if (accepted[name].toLowerCase() === ours[name].toLowerCase()) continue;
    throw new BadPayment(`This payment's ${name} is ${accepted[name]}: expected ${ours[name]}.`);
  }
}

function decode(text: string): unknown {
  try {
    return decodePaymentSignatureHeader(text);
  } catch {
    throw new BadPayment('The payment header is not base64 of JSON.');
  }
}
