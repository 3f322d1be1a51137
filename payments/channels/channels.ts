/** Calls paid from channels: a voucher is looked at, its channel taken for one call, what it covers credited to the channel's account. */
import { v7 as uuidv7 } from 'uuid';
import type { Sql } from '../../db/connect.ts';
import { type Hex, walletId } from '../methods/authorization.ts';
import { chainAway } from '../methods/deposit-steps.ts';
import type { Evm } from '../methods/evm.ts';
import type { Funded, PaymentRefusal } from '../methods/method.ts';
import { STANDS_MS, Standing } from '../methods/standing.ts';
import { least, type Nanousd } from '../money.ts';
import { repeat } from '../retry.ts';
import { nanousdOf } from '../units.ts';
import type { ChannelDeposits } from './deposits.ts';
import { badSignature, busy, closing, exceeding, mismatch, notFound } from './faults.ts';
import * as rows from './rows.ts';
import type { SignerOf } from './signatures.ts';
import { announcedFor, ChannelTab } from './tab.ts';
import { type ChannelDigests, type Voucher, ZERO_ADDRESS } from './typed-data.ts';
import type { ChannelPayment, ChannelsLog, ChannelView } from './view.ts';

export interface ChannelsOptions {
  readonly sql: Sql;
  readonly evm: Evm;
  readonly log: ChannelsLog;
  readonly digests: ChannelDigests;
  readonly view: Pick<ChannelView, 'look'>;
  /** Whoever has the keys. */
  readonly deposits: Pick<ChannelDeposits, 'bring'>;
  readonly signerOf: SignerOf;
}

/** A channel that nobody else can use. */
export interface Taken {
  readonly requestId: string;
  /** Null: all is as before. */
  free(outcome: rows.Outcome | null): Promise<void>;
}

const END_LIMIT_MS = 10_000;
/** So long what the chain said of a channel is believed: far shorter than it takes to withdraw from one. */
const BELIEVED_MS = 300_000n;
const TRIES = 3;

export class Channels {
  readonly #options: ChannelsOptions;
  readonly #standing = new Standing();

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
    if (isSigned === null) return chainAway;
    if (!isSigned) return badSignature;
    const deposited = payment.deposit === null ? null : await this.#options.deposits.bring(payment, payment.deposit);
    if (deposited !== null && 'code' in deposited) return deposited;
    return this.#begin(payment, cost, deposited === null ? row : undefined, deposited?.transaction ?? null);
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
    const seen = await this.#options.view.look(config, voucher.channelId);
    if (seen !== null) return seen;
    const now = await rows.findChannel(sql, voucher.channelId);
    return now === undefined ? notFound : { row: now };
  }

  /** A contract that pays for itself is asked; all others sign by a key. */
  async isSigned({ config, voucher }: Pick<ChannelPayment, 'config' | 'voucher'>): Promise<boolean> {
    const { digests, evm, signerOf } = this.#options;
    const digest = digests.voucher(voucher);
    if (config.payerAuthorizer !== ZERO_ADDRESS)
      return (await signerOf(digest, voucher.signature)) === config.payerAuthorizer;
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
    return this.#standing.keep(
      (ids, standsMs) => rows.renewRequests(sql, ids, standsMs),
      (error) => log.warn({ err: error }, 'requests of channels could not be renewed'),
    );
  }

  /** `seen`: the channel as it was just looked at; a second look is for who was overtaken. */
  async #begin(
    payment: ChannelPayment,
    cost: Nanousd,
    seen: rows.ChannelRow | undefined,
    transaction: Hex | null,
  ): Promise<Funded | PaymentRefusal> {
    const { sql, evm } = this.#options;
    const { voucher, amount, config } = payment;
    const most = least(cost, nanousdOf(amount));
    for (let tries = 0; tries < TRIES; tries++) {
      const row = tries === 0 && seen !== undefined ? seen : await rows.findChannel(sql, voucher.channelId);
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
