/** The ways to pay over one network, whoever settles what is paid. */
import { didOf, statementSigner } from '../receipt.ts';
import type { Hex } from './authorization.ts';
import type { Evm } from './evm.ts';
import { exactScheme } from './exact.ts';
import type { PaymentMethod } from './method.ts';
import { mppMethod } from './mpp.ts';
import type { Sign } from './offer-receipt.ts';
import type { PaymentsOptions } from './open.ts';
import { SignIn } from './sign-in.ts';
import type { Rail, Terms } from './terms.ts';
import { type Scheme, x402Method } from './x402.ts';

export interface WaysToPay {
  /** In the order in which they are offered. */
  readonly methods: readonly PaymentMethod[];
  /** Null where wallets cannot sign in. */
  readonly signIn: SignIn | null;
}

type WaysOptions = Pick<PaymentsOptions, 'sql' | 'origin' | 'secretKey'> & { readonly sign: Sign | null };

/** How long a payer has to answer a 402. */
export const TIMEOUT_SECONDS = 300;

/** What payments to an address of ours must say. */
export function termsOf({ network, leastNanousd }: Pick<Terms, 'network' | 'leastNanousd'>, payTo: Hex): Terms {
  return { network, payTo, leastNanousd, timeoutSeconds: TIMEOUT_SECONDS };
}

/** Who signs receipts in the host's name; null where it has none. */
export function signOf({ sql, origin }: Pick<PaymentsOptions, 'sql' | 'origin'>): Sign | null {
  return origin === null ? null : statementSigner(sql, didOf(origin));
}

/** `byUse`: the schemes of x402 that pay for what was used, after it. */
export function waysToPay(
  { sql, origin, secretKey, sign }: WaysOptions,
  terms: Terms,
  evm: Evm,
  deposits: Rail['deposits'],
  byUse: readonly Scheme[] = [],
): WaysToPay {
  const signIn = origin === null ? null : new SignIn({ sql, evm, origin, secretKey });
  const realm = origin === null ? 'faregate' : new URL(origin).host;
  const schemes = [exactScheme({ terms, deposits, sign }), ...byUse];
  const methods = [x402Method(schemes, signIn), mppMethod({ terms, deposits, realm, secretKey })];
  return { methods, signIn };
}
