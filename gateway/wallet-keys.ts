/** The keys of wallets' accounts. */
import type { Principal } from './auth.ts';
import { createKey } from './key-store.ts';
import type { Gateway } from './platform.ts';

/** The key that a wallet's calls without one run under. It is made, and shown once, when the account has none in force. */
export async function walletKey(
  gateway: Gateway,
  accountId: string,
): Promise<{ principal: Principal; key: string | null }> {
  const { keyring, platform } = gateway;
  const known = await keyring.ownerOf(accountId);
  if (known !== null) return { principal: known, key: null };
  const { key } = await createKey(platform.database.sql, keyring, { ownerId: accountId, kind: 'live', name: 'wallet' });
  return { principal: await keyring.authenticate(`Bearer ${key}`, 'agent'), key };
}
