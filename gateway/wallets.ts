/** The ways to pay as the gateway knows them: what payments/ has, and the keys of wallets' accounts. */
import { hash } from 'node:crypto';
import { BadSignIn, type HeaderOf } from '../payments/methods/method.ts';
import type { Payments, PaymentsOptions } from '../payments/methods/open.ts';
import { isTransient } from '../payments/retry.ts';
import type { Keyring, Principal } from './auth.ts';
import { apiError } from './errors.ts';
import { createKey } from './key-store.ts';
import type { Platform } from './platform.ts';

export interface Wallets extends Payments {
  /** The key that a wallet's calls without one run under. It is made, and shown once, when the account has none in force. */
  keyOf(accountId: string): Promise<{ readonly principal: Principal; readonly key: string | null }>;
  /** The owner of the wallet that signed this request's `SIGN-IN-WITH-X`; null for none, and for a wallet that never paid. */
  signedIn(header: HeaderOf): Promise<Principal | null>;
  /** The digest of a body as MPP binds it. */
  digest(body: Uint8Array): string;
}

const RETRY_AFTER_MS = 1_000;

/** Loads what the ways to pay stand on, and answers how to open them. */
export type LoadPayments = () => Promise<(options: PaymentsOptions) => Payments>;

/** Opens the ways to pay that are configured; null where none is. What they stand on is loaded only then. */
export async function openWallets(
  platform: Platform,
  keyring: Keyring,
  secretKey: string,
  load: LoadPayments,
): Promise<Wallets | null> {
  const { config, database, log } = platform;
  const { sql } = database;
  if (config.payments === null) return null;
  const open = await load();
  const payments = open({
    ...config.payments,
    sql,
    log,
    secretKey,
    origin: config.gatewayUrl ?? null,
    waitMs: config.limits.paymentMs,
    callMs: config.limits.totalMs,
    atOnce: config.limits.paymentsAtOnce,
    atOncePerPayer: config.limits.paymentsPerPayer,
  });
  const keyOf = async (accountId: string) => {
    const known = await keyring.ownerOf(accountId);
    if (known !== null) return { principal: known, key: null };
    const { key } = await createKey(sql, keyring, { ownerId: accountId, kind: 'live', name: 'wallet' });
    // Not as a stranger's key is looked up: so many of those at once are refused, and this caller has paid.
    const principal = await keyring.ownerOf(accountId);
    if (principal === null) throw new Error(`the key of ${accountId} was revoked as soon as it was made`);
    return { principal, key };
  };
  const signedIn = async (header: HeaderOf) => {
    const text = header('sign-in-with-x');
    if (text === undefined || payments.signIn === null) return null;
    const accountId = await payments.signIn.verify(text).catch((error: unknown) => {
      if (error instanceof BadSignIn) throw apiError('invalid_api_key', error.message);
      if (isTransient(error)) throw error;
      log.warn({ err: error }, 'the chain does not answer: no sign-ins for now');
      throw apiError('payments_unavailable', 'The chain does not answer: ask again, or send a key.', {
        retryAfterMs: RETRY_AFTER_MS,
      });
    });
    return accountId === null ? null : (await keyOf(accountId)).principal;
  };
  return { ...payments, keyOf, signedIn, digest: (body) => `sha-256=${hash('sha256', body, 'base64')}` };
}
