/** Who signed a voucher, by WebAssembly: a quarter of a millisecond, where JavaScript would keep the event loop for two. */
import { recover } from 'tiny-secp256k1';
import { hexToBytes, keccak256 } from 'viem';
import { recoveryOf, type SignerOf } from './signatures.ts';

export const signerOf = ((digest, signature) => {
  const recovery = recoveryOf(signature);
  if (recovery === null) return null;
  try {
    const key = recover(hexToBytes(digest), hexToBytes(signature).subarray(0, 64), recovery, false);
    return key === null ? null : `0x${keccak256(key.subarray(1)).slice(26)}`;
  } catch {
    // Numbers that are no point of the curve.
    return null;
  }
}) satisfies SignerOf;
