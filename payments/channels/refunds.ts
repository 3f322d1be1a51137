/** A payer takes back what its channel has left: what calls were charged is claimed, all else is paid out, in one transaction. */
import { setTimeout as sleep } from 'node:timers/promises';
import { encodePaymentResponseHeader } from '@x402/core/http';
import type { PrivateKeyAccount } from 'viem/accounts';
import type { Sql } from '../../db/connect.ts';
import type { Hex } from '../methods/authorization.ts';
import type { Evm } from '../methods/evm.ts';
import type { PaymentRefusal, Refunded } from '../methods/method.ts';
import { NotSent, type Sender } from '../methods/sender.ts';
import type { Outgoing } from '../methods/sender-rows.ts';
import { callBack } from '../payouts/withdrawals.ts';
import { inTransaction } from '../retry.ts';
import { nanousdOf, unitsFor } from '../units.ts';
import type { Channels, Taken } from './channels.ts';
import { type ChannelState, type ContractCall, readChannels, refundCall } from './contract.ts';
import { badRefundAmount, badSignature, busy, mismatch, notFound, nothingToRefund, stateOf } from './faults.ts';
import * as rows from './rows.ts';
import type { ChannelDigests } from './typed-data.ts';
import type { ChannelPayment, ChannelsLog } from './view.ts';

export interface RefundsOptions {
  readonly sql: Sql;
  readonly evm: Evm;
  readonly sender: Sender;
  readonly log: ChannelsLog;
  readonly digests: ChannelDigests;
  /** How long a request waits for its money to be on its way. */
  readonly waitMs: number;
  readonly channels: Channels;
  /** Signs for the receiver. */
  readonly authorizer: PrivateKeyAccount;
}

const GAS = 300_000n;
const PAUSE_MS = 20;
/** The charge of the last call is settled in milliseconds; a database that is slow is waited for. */
const SETTLE_MS = 5_000;

/** What is to be claimed and given back, as it stands on the chain. */
interface Balance {
  readonly state: ChannelState;
  readonly total: bigint;
  readonly back: bigint;
}

export class Refunds {
  readonly #options: RefundsOptions;

  constructor(options: RefundsOptions) {
    this.#options = options;
  }

  /** Gives back `amount` units, or all that is left. Its voucher adds nothing to the last one. */
  async refund(payment: ChannelPayment, amount: bigint | null): Promise<Refunded | PaymentRefusal> {
    const { channels } = this.#options;
    if (amount === 0n) return badRefundAmount;
    const known = await channels.lookUp(payment);
    if ('code' in known) return known;
    const { row } = known;
    if (row === undefined) return notFound;
    if (row.requestId !== null) return busy;
    if (payment.voucher.ceiling !== row.announced) return mismatch(row);
    const isSigned = await channels.isSigned(payment).catch(() => null);
    if (isSigned === null) return unavailable;
    if (!isSigned) return badSignature;
    const taken = await channels.take(row, payment.voucher);
    if (taken === null) return busy;
    const end: { outcome: rows.Outcome | null } = { outcome: null };
    try {
      return await this.#refundTaken(row, taken, amount, end);
    } catch (error) {
      this.#options.log.warn({ err: error, channel: row.id }, 'a channel could not be refunded');
      return unavailable;
    } finally {
      await taken.free(end.outcome);
    }
  }

  async #refundTaken(
    row: rows.ChannelRow,
    taken: Taken,
    amount: bigint | null,
    end: { outcome: rows.Outcome | null },
  ): Promise<Refunded | PaymentRefusal> {
    const { sql, evm, sender } = this.#options;
    await sender.register();
    const [state] = await readChannels(evm, [row.id]);
    if (state === undefined || !(await this.#calledBack(row.accountId))) return unavailable;
    const order = await inTransaction(sql, async (tx) => {
      const spent = await rows.takeUnspent(tx, row.id, taken.requestId);
      if (spent === null) return null;
      const balance = balanceOf(state, unitsFor(spent), amount);
      if (balance.back <= 0n) return balance;
      const purpose = `refund:${row.id}:${state.refundNonce}`;
      const outgoing = { purpose, ...(await this.#call(row, balance)), gas: GAS };
      await sender.enqueue(tx, outgoing);
      return { ...balance, outgoing };
    });
    if (order === null) return unavailable;
    if (!('outgoing' in order)) return nothingToRefund;
    const transaction = await this.#sent(order.outgoing, state.refundNonce, row.id);
    if (transaction === null) return { code: 'unknown', reason: 'this refund was sent and is not seen yet' };
    const [after] = await readChannels(evm, [row.id]);
    if (after === undefined) return unavailable;
    await rows.syncChannel(sql, row.id, after);
    // Who empties a channel forgets it, and would begin again where the chain says.
    const announced = after.balance === after.claimed ? after.claimed : row.announced;
    end.outcome = { charged: 0n, announced };
    return this.#answer({ ...row, ...after }, announced, state.balance - after.balance, transaction);
  }

  /** Every gateway gives back what it leased of the account, and the last charge is settled. False when that takes too long. */
  async #calledBack(accountId: string): Promise<boolean> {
    const { sql } = this.#options;
    await callBack(sql, accountId);
    const endMs = performance.now() + SETTLE_MS;
    for (;;) {
      const [leased] =
        await sql`select from account where owner = ${accountId} and kind = 'escrow' and balance > 0 limit 1`;
      if (leased === undefined) return true;
      if (performance.now() > endMs) return false;
      await sleep(PAUSE_MS);
    }
  }

  async #call(row: rows.ChannelRow, { state, total, back }: Balance): Promise<ContractCall> {
    const { digests, authorizer } = this.#options;
    const { id, config, ceiling, signature } = row;
    const nonce = state.refundNonce;
    const refund = {
      config,
      amount: back,
      nonce,
      authorization: await authorizer.sign({ hash: digests.refund(id, nonce, back) }),
    };
    if (total === state.claimed || signature === null) return refundCall(null, refund);
    const entries = [{ channelId: id, ceiling, total }];
    const authorization = await authorizer.sign({ hash: digests.claims(entries) });
    return refundCall({ claim: { config, ceiling, signature, total }, authorization }, refund);
  }

  /** The hash of the transaction once it did what it should; null when that is not seen in time. */
  async #sent(outgoing: Outgoing, nonce: bigint, id: Hex): Promise<Hex | null> {
    const { sql, evm, sender, waitMs } = this.#options;
    await sender.send(outgoing).catch((error: unknown) => {
      // It is stored: tending sends it.
      if (!(error instanceof NotSent)) throw error;
    });
    const endMs = performance.now() + waitMs;
    for (;;) {
      const [state] = await readChannels(evm, [id]).catch(() => []);
      if (state !== undefined && state.refundNonce > nonce)
        return (await sender.find(sql, outgoing.purpose))?.hash ?? null;
      if (performance.now() > endMs) return null;
      await sleep(PAUSE_MS);
    }
  }

  #answer(row: rows.ChannelRow, announced: bigint, back: bigint, transaction: Hex): Refunded {
    const { id: network } = this.#options.evm.network;
    const { payer } = row.config;
    const settled = {
      success: true,
      transaction,
      network,
      payer,
      amount: String(back),
      extra: { channelState: stateOf(row, announced) },
    };
    return {
      accountId: row.accountId,
      amount: nanousdOf(back),
      transaction,
      headers: { 'payment-response': encodePaymentResponseHeader(settled) },
    };
  }
}

function balanceOf(state: ChannelState, spent: bigint, amount: bigint | null): Balance {
  const total = spent > state.claimed ? spent : state.claimed;
  const left = state.balance - total;
  return { state, total, back: amount === null || amount > left ? left : amount };
}

const unavailable: PaymentRefusal = { code: 'unavailable', reason: 'the channel cannot be refunded now: ask again' };
