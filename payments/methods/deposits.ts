/**
 * How a signed payment becomes money in an account: reserve its place, ask the chain whether it is good, send it, see it arrive,
 * credit it once. Whatever is lost on the way (this process, a node's answer), the chain is asked until it has decided.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sql } from '../../db/connect.ts';
import { nanousdOf } from '../units.ts';
import { type Authorization, type Hex, paymentId, walletId } from './authorization.ts';
import type { Evm, Transfer } from './evm.ts';
import type { Funded, PaymentRefusal } from './method.ts';
import * as rows from './payment-rows.ts';
import { NotSent } from './sender.ts';
import type { Settlement } from './settlement.ts';

export interface DepositsOptions {
  readonly sql: Sql;
  readonly evm: Evm;
  readonly settlement: Settlement;
  readonly log: DepositsLog;
  /** How long a request waits for its money to arrive. */
  readonly waitMs: number;
  /** So many are settled at once in all, and for one payer. */
  readonly atOnce: number;
  readonly atOncePerPayer: number;
}

export interface DepositsLog {
  warn(fields: object, message: string): void;
}

const FIRST_PAUSE_MS = 4;
const LONGEST_PAUSE_MS = 250;
/** A transaction that was replaced has another hash: now and then the transfer itself is looked for. */
const SEARCH_EVERY_MS = 1_000;
const RECONCILE_EVERY_MS = 2_000;
const FORGET_EVERY_MS = 3_600_000;
/** Who waits for a payment may be this late to say what became of it. */
const GRACE_MS = 10_000;
/** Seconds after its end that an authorization may still be in a block which a slow node has not shown. */
const AFTER_END = 60n;

export class Deposits {
  readonly #options: DepositsOptions;
  /** Copies of these are told at once that they are copies. */
  readonly #settling = new Set<string>();
  readonly #open = new Map<string, number>();
  #openInAll = 0;
  #forgotAtMs = -FORGET_EVERY_MS;

  constructor(options: DepositsOptions) {
    this.#options = options;
  }

  /** Moves what is authorized into an account, that of `accountId` or the payer's own, at most once; tells one caller that it did. */
  async fund(method: string, authorization: Authorization, accountId: string | null): Promise<Funded | PaymentRefusal> {
    const { sql, evm } = this.#options;
    const { id: network, usdc } = evm.network;
    const id = paymentId(network, usdc.address, authorization);
    const payer = walletId(network, authorization.from);
    if (this.#settling.has(id)) return inProgress;
    if (!this.#admit(payer)) return unavailable('too many payments are being settled: ask again');
    try {
      this.#settling.add(id);
      const nanousd = nanousdOf(authorization.value);
      const payment = { id, method, network, asset: usdc.address, payer, authorization, nanousd, accountId };
      if (await rows.reserve(sql, payment)) return await this.#settle(id, authorization);
      return await this.#again(id);
    } finally {
      this.#settling.delete(id);
      this.#leave(payer);
    }
  }

  /** Decides by the chain what nobody waits for any more, until the returned function is called. */
  watch(): () => void {
    let busy = false;
    const timer = setInterval(() => {
      if (busy) return;
      busy = true;
      this.reconcile()
        .catch((error: unknown) => this.#options.log.warn({ err: error }, 'payments could not be reconciled'))
        .finally(() => {
          busy = false;
        });
    }, RECONCILE_EVERY_MS);
    timer.unref();
    return () => clearInterval(timer);
  }

  /** One round; `idleMs`: how long a payment was left alone by whoever settled it. */
  async reconcile(idleMs: number = this.#options.waitMs + GRACE_MS): Promise<void> {
    const { sql, evm } = this.#options;
    for (const row of await rows.undecided(sql, evm.network.id, idleMs)) await this.#decide(row);
    const nowMs = performance.now();
    if (nowMs - this.#forgotAtMs < FORGET_EVERY_MS) return;
    this.#forgotAtMs = nowMs;
    await rows.forgetFailed(sql);
  }

  async #settle(id: string, authorization: Authorization): Promise<Funded | PaymentRefusal> {
    const { sql, settlement } = this.#options;
    const looked = await this.#look(authorization);
    if ('code' in looked) {
      await rows.fail(sql, id, looked.reason);
      return looked;
    }
    if (!(await rows.startSettling(sql, id, looked.head))) {
      await rows.fail(sql, id, 'this authorization is settled under another signature');
      return { code: 'invalid', reason: 'this authorization was used already' };
    }
    let transaction: Hex | null;
    try {
      transaction = await settlement.send(id, authorization);
    } catch (error) {
      if (!(error instanceof NotSent)) throw error;
      await rows.fail(sql, id, error.message);
      return unavailable(`${error.message}: ask again`);
    }
    const arrived = await this.#arrival(transaction, authorization, looked.head);
    if (arrived === null || arrived === 'failed') return this.#leaveOpen(id, arrived);
    const credited = await rows.credit(sql, id, arrived.transaction, { claims: true });
    return credited === null ? this.#again(id) : this.#funded(id);
  }

  /** Before anything is sent: is the chain there, and would it move the money? */
  async #look(authorization: Authorization): Promise<{ head: bigint } | PaymentRefusal> {
    const { evm } = this.#options;
    try {
      await evm.check();
      const [head, refusal] = await Promise.all([evm.head(), evm.refusalOf(authorization)]);
      return refusal === null ? { head } : { code: 'invalid', reason: refusal };
    } catch (error) {
      this.#options.log.warn({ err: error }, 'the chain does not answer: no payments for now');
      return unavailable('the chain does not answer: ask again');
    }
  }

  /** A payment that was seen before. */
  async #again(id: string): Promise<Funded | PaymentRefusal> {
    const { sql } = this.#options;
    let row = await rows.findPayment(sql, id);
    if (row?.state === 'unknown' || row?.state === 'settling') {
      // A node that is away leaves it as it is.
      await this.#creditArrived(row).catch(() => {});
      row = await rows.findPayment(sql, id);
    }
    switch (row?.state) {
      case 'settled':
        if (await rows.claim(sql, id)) return this.#funded(id);
        return { code: 'used', reason: 'this payment was used: its change is in the account of its wallet' };
      case 'failed':
        return { code: 'invalid', reason: row.reason ?? 'this payment failed' };
      case 'unknown':
        return { code: 'unknown', reason: 'this payment was sent and is not seen yet: ask again with the same one' };
      default:
        return inProgress;
    }
  }

  /** What arrived, `failed` for a transaction that moved nothing, null for not knowing. */
  async #arrival(
    transaction: Hex | null,
    authorization: Authorization,
    since: bigint,
  ): Promise<Transfer | 'failed' | null> {
    const { evm, settlement, waitMs } = this.#options;
    const startMs = performance.now();
    let searchedMs = startMs;
    let hint = transaction;
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = pauseMs * 2 > LONGEST_PAUSE_MS ? LONGEST_PAUSE_MS : pauseMs * 2) {
      const nowMs = performance.now();
      // A node that does not answer now is asked again.
      const seen = hint === null ? null : await evm.transferIn(hint, authorization).catch(() => null);
      if (seen !== null && seen !== 'failed') return seen;
      if (seen === 'failed' || hint === null || nowMs - searchedMs > SEARCH_EVERY_MS) {
        const found = await evm.transferSince(since, authorization).catch(() => null);
        if (found !== null) return found;
        if (seen === 'failed' && settlement.isDecisive) return 'failed';
        if (seen === 'failed') hint = null;
        searchedMs = nowMs;
      }
      if (nowMs - startMs > waitMs) return null;
      await sleep(pauseMs);
    }
  }

  /**
   * Until it ends, an authorization that was sent can still be used by whoever saw it: its payment stays open, and what arrives is
   * credited. A payer whose transaction failed may pay anew; one whose transaction was not seen must not.
   */
  async #leaveOpen(id: string, outcome: 'failed' | null): Promise<PaymentRefusal> {
    const reason = outcome === 'failed' ? 'the transfer failed on the chain' : 'the transfer was not seen in time';
    await rows.leaveUnknown(this.#options.sql, id, reason);
    if (outcome === 'failed') return { code: 'invalid', reason };
    return { code: 'unknown', reason: 'this payment was sent and is not seen yet: ask again with the same one' };
  }

  async #decide(row: rows.PaymentRow): Promise<void> {
    const { sql, evm } = this.#options;
    if (row.sinceBlock === null) return rows.fail(sql, row.id, 'the gateway stopped before it was sent');
    // The clock first: a block that comes between the two looks is then searched too.
    const now = await evm.now();
    if (await this.#creditArrived(row)) return;
    if (now > row.authorization.validBefore + AFTER_END) await rows.fail(sql, row.id, 'it ended before it was used');
    else await rows.leaveUnknown(sql, row.id, 'the transfer was not seen in time');
  }

  /** Credits a payment whose transfer is on the chain, whoever sent it and whoever else waits for it. */
  async #creditArrived({ id, sinceBlock, authorization }: rows.PaymentRow): Promise<boolean> {
    if (sinceBlock === null) return false;
    const found = await this.#options.evm.transferSince(sinceBlock, authorization);
    if (found !== null) await rows.credit(this.#options.sql, id, found.transaction, { claims: false });
    return found !== null;
  }

  async #funded(id: string): Promise<Funded> {
    const row = await rows.findPayment(this.#options.sql, id);
    if (row?.accountId == null || row.transaction === null) throw new Error(`payment ${id} is not settled`);
    const { accountId, nanousd, transaction, payer, network } = row;
    return { accountId, amount: nanousd, reference: transaction, payer, network, tab: null };
  }

  #admit(payer: string): boolean {
    const own = this.#open.get(payer) ?? 0;
    if (this.#openInAll >= this.#options.atOnce || own >= this.#options.atOncePerPayer) return false;
    this.#openInAll++;
    this.#open.set(payer, own + 1);
    return true;
  }

  #leave(payer: string): void {
    const own = (this.#open.get(payer) ?? 1) - 1;
    this.#openInAll--;
    if (own === 0) this.#open.delete(payer);
    else this.#open.set(payer, own);
  }
}

const inProgress: PaymentRefusal = {
  code: 'in_progress',
  reason: 'this payment is being settled: wait for its answer',
};

function unavailable(reason: string): PaymentRefusal {
  return { code: 'unavailable', reason };
}
