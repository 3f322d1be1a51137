/** The ways to pay, as configured. Loaded only where there are any: what stands below here is heavy. */
import { privateKeyToAddress } from 'viem/accounts';
import type { Sql } from '../../db/connect.ts';
import type { Network } from '../chain/networks.ts';
import type { Nanousd } from '../money.ts';
import { openPayouts, type Payouts, type PayoutTerms } from '../payouts/open.ts';
import type { Hex } from './authorization.ts';
import type { DepositsLog } from './deposit-steps.ts';
import { Deposits } from './deposits.ts';
import { Evm } from './evm.ts';
import { Sender, type SenderLog } from './sender.ts';
import { hostedSettlement, ownSettlement } from './settlement.ts';
import { termsOf, type WaysToPay, waysToPay } from './ways.ts';
import { requirements } from './x402.ts';

export interface PaymentsConfig {
  readonly network: Network;
  readonly rpcUrls: readonly string[];
  /** Of the host's treasury: it pays withdrawals and payouts. */
  readonly treasuryKey: Hex | null;
  /** Where payments go; null: to the treasury. */
  readonly payTo: Hex | null;
  /** Keys that pay the gas of what we send. */
  readonly gasKeys: readonly Hex[];
  /** Who sends the payers' transfers in our place. */
  readonly facilitator: { readonly url: string; readonly key: string | null } | null;
  readonly leastNanousd: Nanousd;
  /** So many blocks hold a payment, its own included, before it is credited. */
  readonly depositConfirmations: bigint;
  /** What we pay out is final when so many blocks lie above its own. */
  readonly confirmations: bigint;
  readonly payouts: PayoutTerms;
}

export interface PaymentsOptions extends PaymentsConfig {
  readonly sql: Sql;
  readonly log: DepositsLog & SenderLog;
  /** The host's public address, as configured; null: wallets cannot sign in. */
  readonly origin: string | null;
  readonly secretKey: string;
  readonly waitMs: number;
  readonly atOnce: number;
  readonly atOncePerPayer: number;
}

/** The ways to pay, as whoever serves callers needs them. */
export interface Payments extends WaysToPay {
  /** Null where there is no treasury to pay from. */
  readonly payouts: Payouts | null;
  close(): Promise<void>;
}

/** And what they stand on, where the keys are. */
export interface OwnPayments extends Payments {
  readonly evm: Evm;
  readonly sender: Sender;
  readonly deposits: Deposits;
}

/** Opens what was configured. The chain need not be there yet. */
export function openPayments(options: PaymentsOptions): OwnPayments {
  const { network, facilitator, waitMs, sql, log, atOnce, atOncePerPayer } = options;
  const payTo = options.payTo ?? treasuryOf(options);
  const terms = termsOf(options, payTo);
  const evm = new Evm(network, options.rpcUrls, options.depositConfirmations);
  const sender = new Sender({ sql, evm, keys: options.gasKeys, log });
  const settlement =
    facilitator === null
      ? ownSettlement(evm, sender)
      : hostedSettlement({ ...facilitator, timeoutMs: waitMs }, ({ value }) => requirements(terms, value));
  const deposits = new Deposits({ sql, evm, settlement, payTo, log, waitMs, atOnce, atOncePerPayer });
  const payouts =
    options.treasuryKey === null ? null : openPayouts({ ...options, treasuryKey: options.treasuryKey, evm, sender });
  const [tended, watched] = [sender.tend(), deposits.watch()];
  return {
    evm,
    sender,
    deposits,
    payouts,
    ...waysToPay(options, terms, evm, deposits),
    close: async () => {
      tended();
      payouts?.close();
      await watched();
    },
  };
}

function treasuryOf({ treasuryKey }: PaymentsConfig): Hex {
  if (treasuryKey === null) throw new Error('there is no treasury that payments could go to');
  return privateKeyToAddress(treasuryKey);
}
