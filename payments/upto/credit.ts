/**
 * Calls paid afterwards, within a maximum that was signed before (x402's `upto`). Until its charge has arrived it is credit, and the host's
 * risk: so no more of one payer is open than it could pay and than the host dares, and whoever did not pay is not served again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { encodePaymentResponseHeader } from '@x402/core/http';
import { v7 as uuidv7 } from 'uuid';
import type { Sql } from '../../db/connect.ts';
import { type ContractCall, refusalOf } from '../channels/contract.ts';
import { walletId } from '../methods/authorization.ts';
import type { Crowd } from '../methods/crowd.ts';
import { chainAway, tooMany } from '../methods/deposit-steps.ts';
import type { Evm } from '../methods/evm.ts';
import type { Funded, PaymentRefusal, Tab } from '../methods/method.ts';
import { NotSent, type Sender } from '../methods/sender.ts';
import { STANDS_MS, Standing } from '../methods/standing.ts';
import { least, type Nanousd } from '../money.ts';
import { inTransaction, repeat } from '../retry.ts';
import { every } from '../rounds.ts';
import { nanousdOf, unitsFor } from '../units.ts';
import { arrival, type Means, meansOf, type Permit, settleCall } from './permit.ts';
import * as rows from './rows.ts';

export interface CreditOptions {
  readonly sql: Sql;
  readonly evm: Evm;
  readonly sender: Sender;
  readonly log: CreditLog;
  readonly crowd: Crowd;
  /** So much of one payer may be open. */
  readonly cap: Nanousd;
  /** How long a request waits for earlier ones of its payer to be settled. */
  readonly waitMs: number;
}

interface CreditLog {
  warn(fields: object, message: string): void;
}

const ROUND_EVERY_MS = 2_000;
const PAUSE_MS = 100;
const END_LIMIT_MS = 10_000;
const GAS = 280_000n;

export class Credit {
  readonly #options: CreditOptions;
  readonly #standing = new Standing();

  constructor(options: CreditOptions) {
    this.#options = options;
  }

  /** Takes a maximum for a call that costs at most `cost`. */
  async use(permit: Permit, cost: Nanousd): Promise<Funded | PaymentRefusal> {
    const { evm, crowd } = this.#options;
    const payerId = walletId(evm.network.id, permit.owner);
    if (!crowd.admit(payerId)) return tooMany;
    try {
      return await this.#use(permit, payerId, cost);
    } finally {
      crowd.leave(payerId);
    }
  }

  async #use(permit: Permit, payerId: string, cost: Nanousd): Promise<Funded | PaymentRefusal> {
    const { sql, evm, cap } = this.#options;
    const { id: network } = evm.network;
    const id = uuidv7();
    const most = least(cost, nanousdOf(BigInt(permit.amount)));
    const endMs = performance.now() + this.#options.waitMs;
    let owed = true;
    for (;;) {
      const means = await this.#look(permit);
      if ('code' in means) return means;
      const opened = await rows.open(sql, { id, payerId, permit, most, means, cap, standsMs: STANDS_MS });
      if (typeof opened !== 'string') {
        this.#standing.add(id);
        const tab = this.#tab(id, permit, most);
        return { accountId: opened.accountId, amount: most, reference: '', payer: payerId, network, tab };
      }
      if (opened !== 'beyond' || performance.now() > endMs) return refusals[opened];
      // Who calls again at once has its last call moved first; what was moved just now is looked at once more.
      const owing = await this.#settleAll(payerId);
      if (owing === 0 && !owed) return refusals[opened];
      owed = owing > 0;
      if (owed) await sleep(PAUSE_MS);
    }
  }

  /** Stands for open calls, and moves what is due, until the returned function is called. */
  watch(): () => void {
    const { sql, log } = this.#options;
    const warn = (message: string) => (error: unknown) => log.warn({ err: error }, message);
    const ends = [
      this.#standing.keep((ids, standsMs) => rows.renew(sql, ids, standsMs), warn('open calls could not be renewed')),
      every(ROUND_EVERY_MS, () => this.round(), warn('signed maxima could not be settled')),
    ];
    return () => {
      for (const end of ends) end();
    };
  }

  /** Sends what is due, and notes what became of what was sent. */
  async round(): Promise<void> {
    await rows.finishLost(this.#options.sql);
    await this.#settleAll(null);
  }

  /** Of one payer, or of all. Answers how many there were. */
  async #settleAll(payerId: string | null): Promise<number> {
    const payments = await rows.due(this.#options.sql, payerId);
    for (const payment of payments) await this.#settle(payment);
    return payments.length;
  }

  /** The chain itself says whether the whole maximum could be moved now, and what else could be. */
  async #look(permit: Permit): Promise<Means | PaymentRefusal> {
    const { evm, log } = this.#options;
    try {
      await evm.check();
      const whole = settleCall(permit, BigInt(permit.amount));
      const [means, refusal] = await Promise.all([meansOf(evm, permit.owner), refusalOf(evm, whole)]);
      return refusal === null ? means : { code: 'invalid', reason: refusal };
    } catch (error) {
      log.warn({ err: error }, 'the chain does not answer: no signed maxima for now');
      return chainAway;
    }
  }

  #tab(id: string, { owner }: Permit, most: Nanousd): Tab {
    let closed: Promise<void> | null = null;
    const network = this.#options.evm.network.id;
    return {
      most,
      // Whatever is due is moved afterwards: there is no transaction yet, and of a stream that begins no amount.
      receipt: (charged, signed = {}) => {
        const amount = charged === null ? {} : { amount: String(unitsFor(charged)) };
        const settled = { success: true, transaction: '', network, payer: owner, ...amount, ...signed };
        return { 'payment-response': encodePaymentResponseHeader(settled) };
      },
      close: (charged) => {
        closed ??= this.#close(id, walletId(network, owner), charged);
        return closed;
      },
    };
  }

  /** What cannot be noted now is found by the account once nobody stands for the call. */
  async #close(id: string, payerId: string, charged: Nanousd): Promise<void> {
    const { sql, log } = this.#options;
    this.#standing.delete(id);
    await repeat(() => rows.finish(sql, id, charged), END_LIMIT_MS).catch((error: unknown) =>
      log.warn({ err: error, upto: id }, 'the charge of a call could not be noted beside its maximum'),
    );
    // At once, though nobody waits for it: the sooner it is moved, the smaller the risk, and the sooner the payer can sign anew.
    if (charged > 0n) {
      this.#settleAll(payerId).catch((error: unknown) =>
        log.warn({ err: error, upto: id }, 'a charge is not moved yet: the next round tries again'),
      );
    }
  }

  async #settle(payment: rows.DueUpto): Promise<void> {
    const { sql, evm, sender, log } = this.#options;
    const { id, permit, units } = payment;
    const purpose = `upto:${id}`;
    const sent = await sender.find(sql, purpose);
    if (sent === null) {
      // Whose gateway was away too long is not to blame.
      if (BigInt(permit.deadline) < BigInt(Date.now()) / 1_000n) return rows.lose(sql, payment, null);
      const { account: from, ...call } = settleCall(permit, units);
      await this.#send(purpose, call, from ?? permit.facilitator);
      return;
    }
    if (sent.state !== 'mined' || sent.hash === null) return;
    const arrived = await arrival(evm, sent.hash, permit, units);
    if (arrived === null) return;
    if (arrived !== 'failed') return rows.settle(sql, id, arrived);
    log.warn(
      { upto: id, payer: permit.owner, transaction: sent.hash },
      'a call on credit was not paid: its payer is served no more',
    );
    await rows.lose(sql, payment, sent.hash);
  }

  async #send(purpose: string, call: ContractCall, from: Permit['facilitator']): Promise<void> {
    const { sql, sender } = this.#options;
    await sender.register();
    const outgoing = { purpose, ...call, gas: GAS, from };
    await inTransaction(sql, (tx) => sender.enqueue(tx, outgoing))
      .then(() => sender.send(outgoing))
      .catch((error: unknown) => {
        // The next round tries again.
        if (!(error instanceof NotSent)) throw error;
      });
  }
}

const refusals: Readonly<Record<'used' | 'lost' | 'beyond', PaymentRefusal>> = {
  used: { code: 'used', reason: 'this signed maximum was used: sign another' },
  lost: { code: 'invalid', reason: 'an earlier call of this wallet could not be settled: pay ahead' },
  beyond: {
    code: 'invalid',
    reason: 'more would be open at once than this wallet can pay, or may owe: wait, or pay ahead',
  },
};
