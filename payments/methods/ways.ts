/** The ways to pay over one network, whoever settles what is paid. */
import { didOf, statementSigner } from '../receipt.ts';
import type { Hex } from './authorization.ts';
import type { Evm } from './evm.ts';
import type { PaymentMethod } from './method.ts';
import { mppMethod } from './mpp.ts';
import type { PaymentsOptions } from './open.ts';
import { SignIn } from './sign-in.ts';
import type { Rail, Terms } from './terms.ts';
import { x402Method } from './x402.ts';

export interface WaysToPay {
  /** In the order in which they are offered. */
  readonly methods: readonly PaymentMethod[];
  /** Null where wallets cannot sign in. */
  readonly signIn: SignIn | null;
}

type WaysOptions = Pick<PaymentsOptions, 'sql' | 'origin' | 'secretKey'>;

/** How long a payer has to answer a 402. */
const TIMEOUT_SECONDS = 300;

/** What payments to an address of ours must say. */
export function termsOf({ network, leastNanousd }: Pick<Terms, 'network' | 'leastNanousd'>, payTo: Hex): Terms {
  return { network, payTo, leastNanousd, timeoutSeconds: TIMEOUT_SECONDS };
}

export function waysToPay(
  { sql, origin, secretKey }: WaysOptions,
  terms: Terms,
  evm: Evm,
  deposits: Rail['deposits'],
): WaysToPay {
  const signIn = origin === null ? null : new SignIn({ sql, evm, origin, secretKey });
  const realm = origin === null ? 'faregate' : new URL(origin).host;
  const sign = origin === null ? null : statementSigner(sql, didOf(origin));
  const methods = [x402Method({ terms, deposits, signIn, sign }), mppMethod({ terms, deposits, realm, secretKey })];
  return { methods, signIn };
}
