/** Our own keys. They sign in WASM: the curve in JavaScript would hold up every stream for a millisecond or two, for each transaction. */
import { signRecoverable } from 'tiny-secp256k1';
import {
  bytesToHex,
  hashMessage,
  hashTypedData,
  hexToBytes,
  keccak256,
  type LocalAccount,
  serializeSignature,
  serializeTransaction,
} from 'viem';
import { privateKeyToAddress, toAccount } from 'viem/accounts';
import type { Hex } from './authorization.ts';

/** What viem's `privateKeyToAccount` makes of a key, with the same signatures (RFC 6979, low s). Throws for what is no key. */
export function signerOf(privateKey: Hex): LocalAccount {
  const key = hexToBytes(privateKey);
  const sign = (hash: Hex) => {
    const { signature, recoveryId } = signRecoverable(hexToBytes(hash), key);
    return {
      r: bytesToHex(signature.subarray(0, 32)),
      s: bytesToHex(signature.subarray(32)),
      yParity: recoveryId,
    };
  };
  return toAccount({
    address: privateKeyToAddress(privateKey),
    sign: async ({ hash }) => serializeSignature(sign(hash)),
    signMessage: async ({ message }) => serializeSignature(sign(hashMessage(message))),
    signTypedData: async (typed) => serializeSignature(sign(hashTypedData(typed))),
    signTransaction: async (transaction, { serializer = serializeTransaction } = {}) =>
      serializer(transaction, sign(keccak256(await serializer(transaction)))),
  });
}
