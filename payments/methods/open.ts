/** The ways to pay, as configured. Loaded only where there are any: what stands below here is heavy. */
import { privateKeyToAddress } from 'viem/accounts';
import type { Sql } from '../../db/connect.ts';
import type { Network } from '../chain/networks.ts';
import type { Nanousd } from '../money.ts';
import { openPayouts, type Payouts, type PayoutTerms } from '../payouts/open.ts';
import { didOf, signStatement } from '../receipt.ts';
import type { Hex } from './authorization.ts';
import { Deposits, type DepositsLog } from './deposits.ts';
import { Evm } from './evm.ts';
import type { PaymentMethod } from './method.ts';
import { mppMethod } from './mpp.ts';
import { Sender, type SenderLog } from './sender.ts';
import { hostedSettlement, ownSettlement } from './settlement.ts';
import { SignIn } from './sign-in.ts';
import { requirements, x402Method } from './x402.ts';

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

export interface Payments {
  readonly evm: Evm;
  readonly sender: Sender;
  readonly deposits: Deposits;
  /** In the order in which they are offered. */
  readonly methods: readonly PaymentMethod[];
  readonly signIn: SignIn | null;
  /** Null where there is no treasury to pay from. */
  readonly payouts: Payouts | null;
  close(): void;
}

/** How long a payer has to answer a 402. */
const TIMEOUT_SECONDS = 300;

/** Opens what was configured. The chain need not be there yet. */
export function openPayments(options: PaymentsOptions): Payments {
  const { network, leastNanousd, facilitator, waitMs, sql, log } = options;
  const payTo = options.payTo ?? treasuryOf(options);
  const terms = { network, payTo, leastNanousd, timeoutSeconds: TIMEOUT_SECONDS };
  const evm = new Evm(network, options.rpcUrls, options.depositConfirmations);
  const sender = new Sender({ sql, evm, keys: options.gasKeys, log });
  const settlement =
    facilitator === null
      ? ownSettlement(evm, sender)
      : hostedSettlement({ ...facilitator, timeoutMs: waitMs }, ({ value }) => requirements(terms, value));
  const { atOnce, atOncePerPayer } = options;
  const deposits = new Deposits({ sql, evm, settlement, log, waitMs, atOnce, atOncePerPayer });
  const { origin, secretKey } = options;
  const signIn = origin === null ? null : new SignIn({ sql, evm, origin, secretKey });
  const realm = origin === null ? 'faregate' : new URL(origin).host;
  const sign = origin === null ? null : (statement: object) => signStatement(sql, statement, didOf(origin));
  const payouts =
    options.treasuryKey === null ? null : openPayouts({ ...options, treasuryKey: options.treasuryKey, evm, sender });
  const ends = [sender.tend(), deposits.watch(), () => payouts?.close()];
  return {
    evm,
    sender,
    deposits,
    payouts,
    signIn,
    methods: [x402Method({ terms, deposits, signIn, sign }), mppMethod({ terms, deposits, realm, secretKey })],
    close: () => {
      for (const end of ends) end();
    },
  };
}

function treasuryOf({ treasuryKey }: PaymentsConfig): Hex {
  if (treasuryKey === null) throw new Error('there is no treasury that payments could go to');
  return privateKeyToAddress(treasuryKey);
}
