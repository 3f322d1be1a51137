/** The ways to pay, as configured. Loaded only where there are any: what stands below here is heavy. */
import { privateKeyToAddress } from 'viem/accounts';
import type { Sql } from '../../db/connect.ts';
import type { Network } from '../chain/networks.ts';
import type { Claims } from '../channels/claims.ts';
import { openChannels, openClaims } from '../channels/open.ts';
import type { Nanousd } from '../money.ts';
import { openPayouts, type Payouts, type PayoutTerms } from '../payouts/open.ts';
import { Collections } from '../upto/collections.ts';
import { type CreditConfig, openCredit } from '../upto/open.ts';
import type { Hex } from './authorization.ts';
import { Crowd } from './crowd.ts';
import type { DepositsLog } from './deposit-steps.ts';
import { Deposits } from './deposits.ts';
import { Evm } from './evm.ts';
import { requirements } from './exact.ts';
import type { Sign } from './offer-receipt.ts';
import { Sender, type SenderLog } from './sender.ts';
import { hostedSettlement, ownSettlement } from './settlement.ts';
import { signOf, TIMEOUT_SECONDS, termsOf, type WaysToPay, waysToPay } from './ways.ts';
import type { Scheme } from './x402.ts';

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
  /** How wallets pay by vouchers from channels; null: they do not. Only where there is a treasury. */
  readonly channels: ChannelTerms | null;
  /** How wallets pay on credit, within signed maxima; null: they do not. */
  readonly upto: UptoTerms | null;
  /** Where no key is: of whose keys, elsewhere, channels and credit need the address; null: they are not offered. */
  readonly elsewhere: { readonly authorizer: Hex | null; readonly mover: Hex | null };
}

interface UptoTerms {
  /** So much of one payer may be open, and no dearer call is offered so. */
  readonly cap: Nanousd;
}

interface ChannelTerms {
  /** A smaller deposit costs more to make and to claim than it brings. */
  readonly leastDeposit: Nanousd;
  /** What less than this is claimed only after a day. */
  readonly claimMinimum: Nanousd;
}

export interface PaymentsOptions extends PaymentsConfig {
  readonly sql: Sql;
  readonly log: DepositsLog & SenderLog;
  /** The host's public address, as configured; null: wallets cannot sign in. */
  readonly origin: string | null;
  readonly secretKey: string;
  readonly waitMs: number;
  /** The longest that a call may take. */
  readonly callMs: number;
  readonly atOnce: number;
  readonly atOncePerPayer: number;
}

/** What pays for what was used. */
interface ByUse {
  readonly scheme: Scheme;
  close(): void | Promise<void>;
}

/** The ways to pay, as whoever serves callers needs them. */
export interface Payments extends WaysToPay {
  /** What sends our transactions; null where there are no keys. */
  readonly sender: Sender | null;
  /** Null where there is no treasury to pay from. */
  readonly payouts: Payouts | null;
  /** Null where no channels are opened. */
  readonly channels: ByUse | null;
  /** Null where nothing is paid on credit. */
  readonly credit: ByUse | null;
  /** Of what channels owe, and of what is owed on credit; null where there are no keys to move it with. */
  readonly claims: Claims | null;
  readonly collections: Collections | null;
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
  const sign = signOf(options);
  const collections = new Collections({ sql, evm, sender, log });
  // What is paid by the use has room of its own, and leaves transfers theirs.
  const common = { sql, evm, sender, log, waitMs, sign, payTo, crowd: new Crowd({ atOnce, atOncePerPayer }) };
  const channels = channelsOf(options, common);
  const credit = creditOf(options, { ...common, hurry: (payerId) => collections.settleAll(payerId) });
  const claims = claimsOf(options, common);
  const byUse = [channels?.scheme, credit?.scheme].filter((scheme) => scheme !== undefined);
  const [tended, watched, collected] = [sender.tend(), deposits.watch(), collections.watch()];
  return {
    evm,
    sender,
    deposits,
    payouts,
    channels,
    credit,
    claims: claims?.claims ?? null,
    collections,
    ...waysToPay({ ...options, sign }, terms, evm, deposits, byUse),
    close: async () => {
      tended();
      payouts?.close();
      claims?.close();
      await Promise.all([channels?.close(), credit?.close(), watched(), collected()]);
    },
  };
}

/** What all that is paid by the use stands on. */
interface Common {
  readonly sql: Sql;
  readonly evm: Evm;
  readonly sender: Sender;
  readonly log: DepositsLog & SenderLog;
  readonly waitMs: number;
  readonly sign: Sign | null;
  readonly payTo: Hex;
  readonly crowd: Crowd;
}

/** A hosted facilitator settles transfers alone: what channels need is sent by keys of our own. */
function channelsOf(options: PaymentsOptions, common: Common): ByUse | null {
  const { channels, treasuryKey, facilitator, gasKeys } = options;
  if (channels === null || treasuryKey === null || facilitator !== null || gasKeys.length === 0) return null;
  const leastDepositNanousd = channels.leastDeposit;
  return openChannels({ ...common, authorizerKey: treasuryKey, leastDepositNanousd, timeoutSeconds: TIMEOUT_SECONDS });
}

/** What channels owe is claimed though no more are offered: its payers could take it home otherwise. */
function claimsOf({ treasuryKey, gasKeys, channels }: PaymentsOptions, common: Common) {
  if (treasuryKey === null || gasKeys.length === 0) return null;
  return openClaims({ ...common, authorizerKey: treasuryKey, minimum: channels?.claimMinimum ?? 0n });
}

/** A maximum is signed for the one key that moves it: the first of those that pay gas. */
function creditOf(
  { upto, facilitator, gasKeys, leastNanousd, callMs }: PaymentsOptions,
  common: Common & Pick<CreditConfig, 'hurry'>,
): ByUse | null {
  const [mover] = gasKeys;
  if (upto === null || facilitator !== null || mover === undefined) return null;
  return openCredit({ ...common, leastNanousd, callMs, cap: upto.cap, mover: privateKeyToAddress(mover) });
}

function treasuryOf({ treasuryKey }: PaymentsConfig): Hex {
  if (treasuryKey === null) throw new Error('there is no treasury that payments could go to');
  return privateKeyToAddress(treasuryKey);
}
