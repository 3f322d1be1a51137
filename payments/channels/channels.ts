/** Calls paid from channels: a voucher is looked at, its channel taken for one call, what it covers credited to the channel's account. */
import { setTimeout as sleep } from 'node:timers/promises';
import { v7 as uuidv7 } from 'uuid';
import type { Sql } from '../../db/connect.ts';
import { type Hex, walletId } from '../methods/authorization.ts';
import type { Crowd } from '../methods/crowd.ts';
import { tooMany } from '../methods/deposit-steps.ts';
import type { Evm } from '../methods/evm.ts';
import type { Funded, PaymentRefusal } from '../methods/method.ts';
import { NotSent, type Sender } from '../methods/sender.ts';
import { gasOf, PLAIN_SIGNATURE_LENGTH } from '../methods/settlement.ts';
import { least, type Nanousd } from '../money.ts';
import { repeat } from '../retry.ts';
import { nanousdOf } from '../units.ts';
import { type ChannelDeposit, type ChannelState, depositCall, readChannels, refusalOf } from './contract.ts';
import {
  badSignature,
  busy,
  closing,
  depositFailed,
  depositRefused,
  exceeding,
  mismatch,
  notFound,
  shortDeposit,
} from './faults.ts';
import * as rows from './rows.ts';
import { announcedFor, ChannelTab } from './tab.ts';
import {
  type ChannelConfig,
  type ChannelDigests,
  depositNonce,
  signerOf,
  type Voucher,
  ZERO_ADDRESS,
} from './typed-data.ts';

export interface ChannelsOptions {
  readonly sql: Sql;
  readonly evm: Evm;
  readonly sender: Sender;
  readonly digests: ChannelDigests;
  readonly log: ChannelsLog;
  readonly crowd: Crowd;
  /** How long a request waits for its deposit to arrive. */
  readonly waitMs: number;
}

export interface ChannelsLog {
  warn(fields: object, message: string): void;
}

/** What a payer sent to pay one call. */
export interface ChannelPayment {
  readonly config: ChannelConfig;
  readonly voucher: Voucher;
  /** What it adds to where the last voucher ended, in units. */
  readonly amount: bigint;
  readonly deposit: ChannelDeposit | null;
}

/** A channel that nobody else can use. */
export interface Taken {
  readonly requestId: string;
  /** Null: all is as before. */
  free(outcome: rows.Outcome | null): Promise<void>;
}

/** A gateway says every few seconds which requests it still stands for; of one that died they are over soon after. */
const STANDS_MS = 15_000;
const RENEW_EVERY_MS = 4_000;
const END_LIMIT_MS = 10_000;
/** So long what the chain said of a channel is believed: far shorter than it takes to withdraw from one. */
const BELIEVED_MS = 300_000n;
const DEPOSIT_GAS = 300_000n;
const RECEIPT_PAUSE_MS = 20;
const TRIES = 3;

export class Channels {
  readonly #options: ChannelsOptions;
  readonly #standing = new Set<string>();

  constructor(options: ChannelsOptions) {
    this.#options = options;
  }

  /** Takes the channel for a call that costs at most `cost`. */
  async use(payment: ChannelPayment, cost: Nanousd): Promise<Funded | PaymentRefusal> {
    const known = await this.lookUp(payment);
    if ('code' in known) return known;
    const { row } = known;
    if (row !== undefined) {
      const refusal = unusable(row, payment) ?? uncovered(row, payment);
      if (refusal !== null) return refusal;
    }
    const isSigned = await this.isSigned(payment).catch(() => null);
    if (isSigned === null) return unavailable;
    if (!isSigned) return badSignature;
    const deposited = payment.deposit === null ? null : await this.#depositInTurn(payment, payment.deposit);
    if (deposited !== null && 'code' in deposited) return deposited;
    return this.#begin(payment, cost, deposited?.transaction ?? null);
  }

  /** The channel as it is known, after a look at the chain where that is due. */
  async lookUp({
    config,
    voucher,
    deposit,
  }: ChannelPayment): Promise<{ row: rows.ChannelRow | undefined } | PaymentRefusal> {
    const { sql } = this.#options;
    const row = await rows.findChannel(sql, voucher.channelId);
    if (deposit !== null || (row !== undefined && row.syncedMs < BELIEVED_MS)) return { row };
    const state = await this.#read(voucher.channelId);
    if (state === null) return unavailable;
    if (row === undefined && state.balance === 0n) return notFound;
    await this.#note(voucher.channelId, config, state);
    return { row: await rows.findChannel(sql, voucher.channelId) };
  }

  /** A contract that pays for itself is asked; all others sign by a key. */
  async isSigned({ config, voucher }: Pick<ChannelPayment, 'config' | 'voucher'>): Promise<boolean> {
    const { digests, evm } = this.#options;
    const digest = digests.voucher(voucher);
    if (config.payerAuthorizer !== ZERO_ADDRESS) return signerOf(digest, voucher.signature) === config.payerAuthorizer;
    return evm.client.verifyHash({ address: config.payer, hash: digest, signature: voucher.signature });
  }

  /** Takes the channel for what is no call. Null where somebody else has it. */
  async take(row: rows.ChannelRow, voucher: Voucher): Promise<Taken | null> {
    const id = uuidv7();
    const { announced: announces, credited: creditedAfter } = row;
    const request = { id, voucher, announces, creditedAfter, standsMs: STANDS_MS };
    if (!(await rows.beginRequest(this.#options.sql, row, request))) return null;
    this.#standing.add(id);
    return { requestId: id, free: (outcome) => this.#end(row.id, id, outcome) };
  }

  /** Stands for the requests in flight, until the returned function is called. */
  stand(): () => void {
    const { sql, log } = this.#options;
    const timer = setInterval(() => {
      if (this.#standing.size === 0) return;
      rows
        .renewRequests(sql, [...this.#standing], STANDS_MS)
        .catch((error: unknown) => log.warn({ err: error }, 'requests of channels could not be renewed'));
    }, RENEW_EVERY_MS);
    timer.unref();
    return () => clearInterval(timer);
  }

  async #begin(payment: ChannelPayment, cost: Nanousd, transaction: Hex | null): Promise<Funded | PaymentRefusal> {
    const { sql, evm } = this.#options;
    const { voucher, amount, config } = payment;
    const most = least(cost, nanousdOf(amount));
    for (let tries = 0; tries < TRIES; tries++) {
      const row = await rows.findChannel(sql, voucher.channelId);
      if (row === undefined) return notFound;
      const refusal = unusable(row, payment) ?? uncovered(row, { voucher, deposit: null });
      if (refusal !== null) return refusal;
      const announces = announcedFor(row, most);
      const creditedAfter = row.spent + most > row.credited ? row.spent + most : row.credited;
      const id = uuidv7();
      if (!(await rows.beginRequest(sql, row, { id, voucher, announces, creditedAfter, standsMs: STANDS_MS })))
        continue;
      this.#standing.add(id);
      const { id: network } = evm.network;
      const end = (outcome: rows.Outcome | null) => this.#end(row.id, id, outcome);
      return {
        accountId: row.accountId,
        amount: creditedAfter - row.credited,
        reference: transaction ?? '',
        payer: walletId(network, config.payer),
        network,
        tab: new ChannelTab({ row, most, announces, network, transaction, end }),
      };
    }
    return busy;
  }

  /** What cannot be noted now is taken, soon after, for a request of a gateway that died. */
  async #end(id: Hex, requestId: string, outcome: rows.Outcome | null): Promise<void> {
    this.#standing.delete(requestId);
    const { sql, log } = this.#options;
    await repeat(() => rows.endRequest(sql, id, requestId, outcome), END_LIMIT_MS).catch((error: unknown) =>
      log.warn({ err: error, channel: id }, 'the end of a call could not be noted in its channel'),
    );
  }

  /** No more at once than there is room for: who deposits has the chain work for it. */
  async #depositInTurn(payment: ChannelPayment, deposit: ChannelDeposit) {
    const { crowd, evm } = this.#options;
    const payer = walletId(evm.network.id, payment.config.payer);
    if (!crowd.admit(payer)) return tooMany;
    try {
      return await this.#deposit(payment, deposit);
    } finally {
      crowd.leave(payer);
    }
  }

  /** Brings the deposit onto the chain, once, whoever sends it. */
  async #deposit(
    { config, voucher }: ChannelPayment,
    deposit: ChannelDeposit,
  ): Promise<{ transaction: Hex | null } | PaymentRefusal> {
    const { sql, evm, sender } = this.#options;
    const purpose = `channel:${depositNonce(voucher.channelId, deposit.salt)}`;
    const call = depositCall(config, deposit);
    try {
      await evm.check();
      const refusal = (await sender.find(sql, purpose)) === null ? await refusalOf(evm, call) : null;
      // Somebody may have sent it in our place, or long ago.
      if (refusal !== null)
        return (await this.#covers(config, voucher)) ? { transaction: null } : depositRefused(refusal);
      const gas = deposit.signature.length === PLAIN_SIGNATURE_LENGTH ? DEPOSIT_GAS : await gasOf(evm, call);
      await sender.send({ purpose, ...call, gas });
      return await this.#arrival(purpose, config, voucher);
    } catch (error) {
      if (!(error instanceof NotSent))
        this.#options.log.warn({ err: error }, 'the chain does not answer: no deposits for now');
      return unavailable;
    }
  }

  async #arrival(
    purpose: string,
    config: ChannelConfig,
    voucher: Voucher,
  ): Promise<{ transaction: Hex | null } | PaymentRefusal> {
    const { sql, evm, sender, waitMs } = this.#options;
    const endMs = performance.now() + waitMs;
    for (;;) {
      // One that was replaced has another hash.
      const hash = (await sender.find(sql, purpose))?.hash ?? null;
      const receipt = hash === null ? null : await evm.client.getTransactionReceipt({ hash }).catch(() => null);
      if (receipt !== null) {
        if (await this.#covers(config, voucher)) return { transaction: hash };
        if (receipt.status !== 'success') return depositFailed;
        const deepest = await evm.deepest();
        if (deepest === null || deepest >= receipt.blockNumber) return shortDeposit;
      }
      if (performance.now() > endMs) {
        return { code: 'unknown', reason: 'this deposit was sent and is not seen yet: ask again with the same one' };
      }
      await sleep(RECEIPT_PAUSE_MS);
    }
  }

  /** Whether the chain has what the voucher promises; notes the channel as it is there. */
  async #covers(config: ChannelConfig, { channelId, ceiling }: Voucher): Promise<boolean> {
    const state = await this.#read(channelId);
    if (state === null || state.balance === 0n) return false;
    await this.#note(channelId, config, state);
    return ceiling <= state.balance;
  }

  /** Null when the chain does not answer. */
  async #read(id: Hex): Promise<ChannelState | null> {
    const [state] = await readChannels(this.#options.evm, [id], { deep: true }).catch(() => []);
    return state ?? null;
  }

  #note(id: Hex, config: ChannelConfig, state: ChannelState): Promise<void> {
    const { sql, evm } = this.#options;
    const { id: network } = evm.network;
    return rows.openChannel(sql, { id, network, payer: walletId(network, config.payer), config, state });
  }
}

/** Why a channel cannot pay this call, whatever was deposited. */
function unusable(row: rows.ChannelRow, { voucher, amount }: ChannelPayment): PaymentRefusal | null {
  if (row.requestId !== null) return busy;
  if (row.withdrawRequestedAt !== 0n) return closing;
  return voucher.ceiling - amount === row.announced ? null : mismatch(row);
}

function uncovered(
  row: rows.ChannelRow,
  { voucher, deposit }: Pick<ChannelPayment, 'voucher' | 'deposit'>,
): PaymentRefusal | null {
  return voucher.ceiling > row.balance + (deposit?.amount ?? 0n) ? exceeding(row) : null;
}

const unavailable: PaymentRefusal = { code: 'unavailable', reason: 'the chain does not answer: ask again' };
