/** Where payouts may go. */
import { isAddress, zeroAddress } from 'viem';

/**
 * An address in lower case; null for what is none. Letters of both cases are a checksum (EIP-55): a digit that was mistyped shows.
 * Addresses that nobody could take the money from are none either.
 */
export function payoutAddress(text: string, useless: readonly string[]): string | null {
  const address = text.toLowerCase();
  const isMixed = text !== address && text.slice(2) !== text.slice(2).toUpperCase();
  if (!isAddress(isMixed ? text : address) || [zeroAddress, ...useless].includes(address)) return null;
  return address;
}
