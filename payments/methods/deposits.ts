/**
 * How a signed payment becomes money in an account: reserve its place, ask the chain whether it is good, send it, see it arrive,
 * credit it once. Whatever is lost on the way (this process, a node's answer), the chain is asked until it has decided.
 */

import { every } from '../rounds.ts';
import { arrivalOf } from './arrival.ts';
import type { Authorization, Hex } from './authorization.ts';
import { Crowd } from './crowd.ts';
import {
  beginPayment,
  FAILED_ON_CHAIN,
  fundedBy,
  inProgress,
  newPayment,
  outcomeOf,
  type StepsOptions,
  tooMany,
  unavailable,
  unseen,
} from './deposit-steps.ts';
import type { Transfer } from './evm.ts';
import type { Funded, PaymentRefusal } from './method.ts';
import * as rows from './payment-rows.ts';
import { NotSent } from './sender.ts';
import type { Settlement } from './settlement.ts';

export interface DepositsOptions extends StepsOptions {
  readonly settlement: Settlement;
  /** Where payments go: what others entrust to us must go there too. */
  readonly payTo: Hex;
  /** How long a request waits for its money to arrive. */
  readonly waitMs: number;
  /** So many are settled at once in all, and for one payer. */
  readonly atOnce: number;
  readonly atOncePerPayer: number;
}

const RECONCILE_EVERY_MS = 2_000;
const FORGET_EVERY_MS = 3_600_000;
/** Who waits for a payment may be this late to say what became of it. */
const GRACE_MS = 10_000;
/** Seconds after its end that an authorization may still be in a block which a slow node has not shown. */
const AFTER_END = 60n;
const NOT_SEEN = 'the transfer was not seen in time';

export class Deposits {
  readonly #options: DepositsOptions;
  /** Copies of these are told at once that they are copies. */
  readonly #settling = new Set<string>();
  readonly #crowd: Crowd;
  #forgotAtMs = -FORGET_EVERY_MS;

  constructor(options: DepositsOptions) {
    this.#options = options;
    this.#crowd = new Crowd(options);
  }

  /** Moves what is authorized into an account, that of `accountId` or the payer's own, at most once; tells one caller that it did. */
  async fund(method: string, authorization: Authorization, accountId: string | null): Promise<Funded | PaymentRefusal> {
    const payment = newPayment(this.#options.evm, method, authorization, accountId);
    const { id, payer } = payment;
    if (this.#settling.has(id)) return inProgress;
    if (!this.#crowd.admit(payer)) return tooMany;
    try {
      this.#settling.add(id);
      const begun = await beginPayment(this.#options, payment, { entrusted: false });
      if (begun === null) return await this.#again(id);
      return 'code' in begun ? begun : await this.#settle(id, authorization, begun.head);
    } finally {
      this.#settling.delete(id);
      this.#crowd.leave(payer);
    }
  }

  /** Settles what is entrusted to us, and decides by the chain what nobody waits for any more, until the returned function is called. */
  watch(): () => Promise<void> {
    const { sql, log } = this.#options;
    const warn = (error: unknown) => log.warn({ err: error }, 'payments could not be looked after');
    const settle = () => void this.settleEntrusted().catch(warn);
    const listening = sql.listen(rows.ENTRUSTED, settle, settle);
    listening.catch(warn);
    const ends = [
      // A notification can be lost together with its connection; and one round may wait long, while others are entrusted.
      every(RECONCILE_EVERY_MS, async () => settle(), warn),
      every(RECONCILE_EVERY_MS, () => this.reconcile(), warn),
    ];
    return async () => {
      for (const end of ends) end();
      await listening.then(({ unlisten }) => unlisten()).catch(() => {});
    };
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

  /** Settles what gateways without keys have entrusted to those with keys, as much at once as there is room for. */
  async settleEntrusted(): Promise<void> {
    const { sql, evm, payTo } = this.#options;
    const most = this.#crowd.room;
    if (most <= 0) return;
    const taken = await rows.takeEntrusted(sql, { network: evm.network.id, payee: payTo, most });
    await Promise.all(taken.map((row) => this.#settleForOther(row)));
  }

  /** Who reserved it waits for its row: nobody is told here. What could not be sent is taken again in a while, by us or another. */
  async #settleForOther({ id, payer, authorization, sinceBlock }: rows.PaymentRow): Promise<void> {
    if (sinceBlock === null || this.#settling.has(id)) return;
    this.#crowd.enter(payer);
    this.#settling.add(id);
    try {
      const arrived = await this.#sendAndWait(id, authorization, sinceBlock);
      if (arrived === null || arrived === 'failed') await this.#leaveOpen(id, arrived);
      else await rows.credit(this.#options.sql, id, arrived.transaction, { claims: false });
    } catch (error) {
      this.#options.log.warn({ err: error, payment: id }, 'a payment that was entrusted to us is not settled yet');
    } finally {
      this.#settling.delete(id);
      this.#crowd.leave(payer);
    }
  }

  async #settle(id: string, authorization: Authorization, since: bigint): Promise<Funded | PaymentRefusal> {
    const { sql } = this.#options;
    let arrived: Transfer | 'failed' | null;
    try {
      arrived = await this.#sendAndWait(id, authorization, since);
    } catch (error) {
      if (!(error instanceof NotSent)) throw error;
      await rows.fail(sql, id, error.message);
      return unavailable(`${error.message}: ask again`);
    }
    if (arrived === null || arrived === 'failed') return this.#leaveOpen(id, arrived);
    const credited = await rows.credit(sql, id, arrived.transaction, { claims: true });
    return credited === null ? this.#again(id) : fundedBy(credited);
  }

  /** Throws `NotSent` when nothing left. */
  async #sendAndWait(id: string, authorization: Authorization, since: bigint): Promise<Transfer | 'failed' | null> {
    const { evm, settlement, waitMs } = this.#options;
    const transaction = await settlement.send(id, authorization);
    return arrivalOf(evm, { authorization, transaction, isOnly: settlement.isDecisive, since }, waitMs);
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
    return outcomeOf(sql, row);
  }

  /**
   * Until it ends, an authorization that was sent can still be used by whoever saw it: its payment stays open, and what arrives is
   * credited. A payer whose transaction failed may pay anew; one whose transaction was not seen must not.
   */
  async #leaveOpen(id: string, outcome: 'failed' | null): Promise<PaymentRefusal> {
    const reason = outcome === 'failed' ? FAILED_ON_CHAIN : NOT_SEEN;
    await rows.leaveUnknown(this.#options.sql, id, reason);
    return outcome === 'failed' ? { code: 'invalid', reason } : unseen;
  }

  async #decide(row: rows.PaymentRow): Promise<void> {
    const { sql, evm } = this.#options;
    if (row.sinceBlock === null) return rows.fail(sql, row.id, 'the gateway stopped before it was sent');
    // The clock first: a block that comes between the two looks is then searched too.
    const now = await evm.now();
    if (await this.#creditArrived(row)) return;
    if (now > row.authorization.validBefore + AFTER_END) await rows.fail(sql, row.id, 'it ended before it was used');
    else await rows.leaveUnknown(sql, row.id, NOT_SEEN);
  }

  /** Credits a payment whose transfer is on the chain, whoever sent it and whoever else waits for it. */
  async #creditArrived({ id, sinceBlock, authorization }: rows.PaymentRow): Promise<boolean> {
    if (sinceBlock === null) return false;
    const found = await this.#options.evm.transferSince(sinceBlock, authorization);
    if (found !== null) await rows.credit(this.#options.sql, id, found.transaction, { claims: false });
    return found !== null;
  }
}
