/** x402's scheme `batch-settlement`: a wallet deposits into a channel once, then signs a voucher for each call. */
import { hash } from 'node:crypto';
import type { PaymentRequirements } from '@x402/core/types';
import { z } from 'zod';
import type { Network } from '../chain/networks.ts';
import { addressField, type Hex, numberField, signatureField, walletId, wordField } from '../methods/authorization.ts';
import { BadPayment, type Charge, type PaymentRefusal } from '../methods/method.ts';
import { receiptOfTab, type Sign } from '../methods/offer-receipt.ts';
import { type Credential, requireAccepted, requirementsOf, type Scheme } from '../methods/x402.ts';
import type { Nanousd } from '../money.ts';
import { nanousdOf, unitsFor } from '../units.ts';
import type { Channels } from './channels.ts';
import type { Refunds } from './refunds.ts';
import type { ChannelConfig, ChannelDigests } from './typed-data.ts';
import type { ChannelPayment } from './view.ts';

/** What a channel must say to be one of ours. */
export interface ChannelTerms {
  readonly network: Network;
  /** Addresses in lower case: who is paid, and whose key signs for it. */
  readonly receiver: Hex;
  readonly receiverAuthorizer: Hex;
  readonly timeoutSeconds: number;
  /** A deposit of less costs more to make and to claim than it brings. */
  readonly leastDepositNanousd: Nanousd;
}

export interface ChannelSchemeOptions {
  readonly terms: ChannelTerms;
  readonly digests: ChannelDigests;
  readonly channels: Pick<Channels, 'use'>;
  readonly refunds: Pick<Refunds, 'refund'>;
  readonly sign: Sign | null;
}

const NAME = 'batch-settlement';
/** Time enough to claim before a withdrawal is carried out, and not long to wait for one's own money. */
const WITHDRAW_DELAY_SECONDS = 3_600;
/** A deposit should last for so many calls: stock clients deposit what they are told, up to a limit of their own. */
const CALLS_PER_DEPOSIT = 20n;

const channelConfig = z.object({
  payer: addressField,
  payerAuthorizer: addressField,
  receiver: addressField,
  receiverAuthorizer: addressField,
  token: addressField,
  withdrawDelay: z.int(),
  salt: wordField,
});
const voucher = z.object({ channelId: wordField, maxClaimableAmount: numberField, signature: signatureField });
const deposit = z.object({
  amount: numberField,
  authorization: z.object({
    erc3009Authorization: z.object({
      validAfter: numberField,
      validBefore: numberField,
      salt: wordField,
      signature: signatureField,
    }),
  }),
});
const payload = z.discriminatedUnion('type', [
  z.object({ type: z.literal('voucher'), channelConfig, voucher }),
  z.object({ type: z.literal('deposit'), channelConfig, voucher, deposit }),
  z.object({ type: z.literal('refund'), channelConfig, voucher, amount: numberField.optional() }),
]);
type Payload = z.output<typeof payload>;

export function channelScheme({ terms, digests, channels, refunds, sign }: ChannelSchemeOptions): Scheme {
  return {
    name: NAME,
    requirements: (charge) => (charge.cost === null ? null : requirements(terms, charge)),
    read(sent) {
      const { payment, refund } = readChannelPayment(terms, digests, sent);
      const { signature, channelId, ceiling } = payment.voucher;
      const kind = refund !== null ? 'refund' : payment.deposit !== null ? 'deposit' : 'voucher';
      return {
        id: hash('sha256', [kind, channelId, ceiling, signature].join(' ')),
        payer: walletId(terms.network.id, payment.config.payer),
        amount: nanousdOf(payment.amount),
        digest: null,
        fund: async (accountId, cost) => {
          if (refund !== null) return forGet;
          if (accountId !== null || cost === null) return forCalls;
          return channels.use(payment, cost);
        },
        receipt: (funded, url) => receiptOfTab(sign, funded, url),
        refund: refund === null ? null : () => refunds.refund(payment, refund.amount),
      };
    },
  };
}

/**
 * A payment from a channel of ours, by what a client sent. `refund`: it asks for so much back (null: for all that is left), and pays nothing.
 * Throws as a scheme's `read` does.
 */
export function readChannelPayment(
  terms: ChannelTerms,
  digests: ChannelDigests,
  sent: Credential,
): { payment: ChannelPayment; refund: { amount: bigint | null } | null } {
  const { accepted } = sent;
  const read = payload.parse(sent.payload);
  requireAccepted(accepted, { ...requirements(terms, null), amount: accepted.amount });
  const payment = paymentOf(read, numberField.parse(accepted.amount), sent);
  requireOurs(terms, digests, payment);
  return { payment, refund: read.type === 'refund' ? { amount: read.amount ?? null } : null };
}

const forGet: PaymentRefusal = { code: 'invalid', reason: 'a refund is asked for by GET' };
const forCalls: PaymentRefusal = {
  code: 'invalid',
  reason: 'a channel pays calls, from an account of its own: send no key beside it, and pay ahead by another way',
};

/** What is asked for one call; without a call, what all offers have in common. */
function requirements({ network, ...terms }: ChannelTerms, charge: Charge | null): PaymentRequirements {
  const { receiver: payTo, receiverAuthorizer, timeoutSeconds } = terms;
  const units = unitsFor(charge?.cost ?? 0n);
  const least = unitsFor(terms.leastDepositNanousd);
  const lasting = units * CALLS_PER_DEPOSIT;
  const extra = {
    receiverAuthorizer,
    withdrawDelay: WITHDRAW_DELAY_SECONDS,
    assetTransferMethod: 'eip3009',
    minDeposit: String(lasting > least ? lasting : least),
    ...charge?.fault?.details,
  };
  return requirementsOf(network, { scheme: NAME, units, payTo, timeoutSeconds, extra });
}

function paymentOf(read: Payload, amount: bigint, sent: Credential): ChannelPayment {
  const { channelId, maxClaimableAmount: ceiling, signature } = read.voucher;
  const config: ChannelConfig = read.channelConfig;
  return {
    config,
    voucher: { channelId, ceiling, signature },
    amount,
    deposit:
      read.type === 'deposit'
        ? { amount: read.deposit.amount, ...read.deposit.authorization.erc3009Authorization }
        : null,
    sent,
  };
}

function requireOurs(
  terms: ChannelTerms,
  digests: ChannelDigests,
  { config, voucher, amount, deposit }: ChannelPayment,
) {
  const ours = {
    receiver: terms.receiver,
    receiverAuthorizer: terms.receiverAuthorizer,
    token: terms.network.usdc.address.toLowerCase(),
    withdrawDelay: WITHDRAW_DELAY_SECONDS,
  };
  for (const name of ['receiver', 'receiverAuthorizer', 'token', 'withdrawDelay'] as const) {
    if (config[name] === ours[name]) continue;
    throw new BadPayment(`The ${name} of this channel is ${config[name]}: expected ${ours[name]}.`);
  }
  if (digests.channelId(config) !== voucher.channelId) throw new BadPayment('The id of this channel is another one’s.');
  if (amount === 0n) throw new BadPayment('A voucher adds more than nothing.');
  if (deposit !== null && nanousdOf(deposit.amount) < terms.leastDepositNanousd)
    throw new BadPayment(`A deposit is at least ${terms.leastDepositNanousd} nano-USD.`);
}
