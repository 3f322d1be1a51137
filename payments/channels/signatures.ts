/** Who signed a voucher. The curve comes from WebAssembly where that can be loaded, as in signatures-wasm.ts, and from JavaScript here. */
import { recoverAddress } from 'viem';
import type { Hex } from '../methods/authorization.ts';

/** The address whose key signed a digest, in lower case; null when none did. */
export type SignerOf = (digest: Hex, signature: Hex) => Hex | null | Promise<Hex | null>;

/** The upper half of the curve's order would give every signature a twin. */
const HIGHEST_S = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0n;
const SIGNATURE_LENGTH = 132;

/** In about two milliseconds. */
export const signerOf: SignerOf = async (digest, signature) => {
  if (recoveryOf(signature) === null) return null;
  const address = await recoverAddress({ hash: digest, signature }).catch(() => null);
  return address === null ? null : (address.toLowerCase() as Hex);
};

/** Which of two keys a signature is of; null for one that the contract would not take. */
export function recoveryOf(signature: Hex): 0 | 1 | null {
  if (signature.length !== SIGNATURE_LENGTH || BigInt(`0x${signature.slice(66, 130)}`) > HIGHEST_S) return null;
  const last = signature.slice(130).toLowerCase();
  return last === '1b' ? 0 : last === '1c' ? 1 : null;
}
