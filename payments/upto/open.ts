/** Payment on credit, as configured. */
import { privateKeyToAddress } from 'viem/accounts';
import type { Hex } from '../methods/authorization.ts';
import type { Sign } from '../methods/offer-receipt.ts';
import type { Scheme } from '../methods/x402.ts';
import type { Nanousd } from '../money.ts';
import { Credit, type CreditOptions } from './credit.ts';
import { uptoScheme } from './scheme.ts';

export interface CreditConfig extends CreditOptions {
  /** The key that moves the money. */
  readonly moverKey: Hex;
  readonly payTo: Hex;
  readonly leastNanousd: Nanousd;
  readonly callMs: number;
  /** Null where the host has no name. */
  readonly sign: Sign | null;
}

export interface OpenCredit {
  readonly scheme: Scheme;
  readonly credit: Credit;
  close(): void;
}

export function openCredit(options: CreditConfig): OpenCredit {
  const { cap, leastNanousd, evm } = options;
  const credit = new Credit(options);
  const payTo = options.payTo.toLowerCase() as Hex;
  const facilitator = privateKeyToAddress(options.moverKey).toLowerCase() as Hex;
  const callSeconds = (BigInt(options.callMs) + 999n) / 1_000n;
  const terms = { network: evm.network, payTo, facilitator, cap, leastNanousd, callSeconds };
  return { scheme: uptoScheme(terms, credit, options.sign), credit, close: credit.watch() };
}
