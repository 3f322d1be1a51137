/** What a payment must say to be ours: checked before its place is taken, so that what is wrong changes nothing. */
import type { Network } from '../chain/networks.ts';
import type { Nanousd } from '../money.ts';
import { nanousdOf } from '../units.ts';
import type { Authorization, Hex } from './authorization.ts';
import type { Deposits } from './deposits.ts';
import { BadPayment } from './method.ts';

export interface Terms {
  readonly network: Network;
  readonly payTo: Hex;
  /** Less costs more to move than it brings. */
  readonly leastNanousd: Nanousd;
  /** How long a payer has, and an authorization may last: what was sent is decided soon after. */
  readonly timeoutSeconds: number;
}

/** What both protocols need to make payments. */
export interface Rail {
  readonly terms: Terms;
  readonly deposits: Pick<Deposits, 'fund'>;
}

/** Seconds that a transfer needs to be mined. */
const TO_MINE = 6n;
const LONGEST_SECONDS = 3_600n;

/** Throws `BadPayment` unless the authorization pays us, enough, now. */
export function requireOurs(
  { payTo, leastNanousd }: Terms,
  { to, value, validAfter, validBefore }: Authorization,
): void {
  if (to !== payTo.toLowerCase()) throw new BadPayment(`Pay to ${payTo}, not to ${to}.`);
  if (nanousdOf(value) < leastNanousd) throw new BadPayment(`A payment is at least ${leastNanousd} nano-USD.`);
  const now = BigInt(Date.now()) / 1_000n;
  if (validAfter > now) throw new BadPayment('This authorization is not valid yet.');
  if (validBefore < now + TO_MINE)
    throw new BadPayment('This authorization has ended, or ends before it can be mined.');
  if (validBefore > now + LONGEST_SECONDS) throw new BadPayment('Sign an authorization that ends within an hour.');
}
