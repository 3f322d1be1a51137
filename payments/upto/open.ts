/** Payment on credit, as configured: whoever moves the money. */
import type { Hex } from '../methods/authorization.ts';
import type { Sign } from '../methods/offer-receipt.ts';
import type { Scheme } from '../methods/x402.ts';
import type { Nanousd } from '../money.ts';
import { Credit, type CreditOptions } from './credit.ts';
import { uptoScheme } from './scheme.ts';

export interface CreditConfig extends CreditOptions {
  /** The address of the key that moves the money. */
  readonly mover: Hex;
  readonly payTo: Hex;
  readonly leastNanousd: Nanousd;
  readonly callMs: number;
  /** Null where the host has no name. */
  readonly sign: Sign | null;
}

export function openCredit(options: CreditConfig): { readonly scheme: Scheme; close(): void } {
  const { cap, leastNanousd, evm, sign } = options;
  const credit = new Credit(options);
  const payTo = options.payTo.toLowerCase() as Hex;
  const facilitator = options.mover.toLowerCase() as Hex;
  const callSeconds = (BigInt(options.callMs) + 999n) / 1_000n;
  const terms = { network: evm.network, payTo, facilitator, cap, leastNanousd, callSeconds };
  return { scheme: uptoScheme(terms, credit, sign), close: credit.stand() };
}
