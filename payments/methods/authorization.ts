/** What every payment here comes down to: a transfer of USDC that its payer signed and anybody may send (EIP-3009). */
import { hash } from 'node:crypto';
import { z } from 'zod';

export type Hex = `0x${string}`;

export interface Authorization {
  /** Addresses are in lower case. */
  readonly from: Hex;
  readonly to: Hex;
  /** In the asset's smallest unit. */
  readonly value: bigint;
  /** Seconds since 1970. */
  readonly validAfter: bigint;
  readonly validBefore: bigint;
  readonly nonce: Hex;
  readonly signature: Hex;
}

/** Wallets that are contracts sign at length; longer than this is no signature. */
const SIGNATURE_HEX_MAX = 8_192;

export const addressField = z
  .string()
  .regex(/^0x[0-9a-fA-F]{40}$/)
  .transform(asHex);
/** As many digits as Postgres keeps: more dollars than there are. */
export const numberField = z
  .string()
  .regex(/^(0|[1-9]\d{0,17})$/)
  .transform(BigInt);

/** Thirty-two bytes. */
export const wordField = z
  .string()
  .regex(/^0x[0-9a-fA-F]{64}$/)
  .transform(asHex);

/** An authorization as both protocols write it. */
export const authorizationFields = {
  from: addressField,
  to: addressField,
  value: numberField,
  validAfter: numberField,
  validBefore: numberField,
  nonce: wordField,
};

export const signatureField = z
  .string()
  .regex(/^0x([0-9a-fA-F]{2})+$/)
  .max(SIGNATURE_HEX_MAX)
  .transform(asHex);

/** What makes a payment this one and no other: all that was signed, and the signature, so that no forgery can pass for it. */
export function paymentId(network: string, asset: Hex, { signature, ...terms }: Authorization): string {
  const { from, to, value, validAfter, validBefore, nonce } = terms;
  return hash(
    'sha256',
    [network, asset.toLowerCase(), from, to, value, validAfter, validBefore, nonce, signature].join(' '),
  );
}

/** The payer by its CAIP-10 name, which is the name of its account here. */
export function walletId(network: string, owner: Hex): string {
  return `${network}:${owner.toLowerCase()}`;
}

function asHex(text: string): Hex {
  return text.toLowerCase() as Hex;
}
