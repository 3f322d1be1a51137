/**
 * Calls paid afterwards, within a maximum that was signed before (x402's `upto`). Until its charge has arrived it is credit, and the host's
 * risk: so no more of one payer is open than it could pay and than the host dares, and whoever did not pay is not served again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { encodePaymentResponseHeader } from '@x402/core/http';
import { v7 as uuidv7 } from 'uuid';
import type { Sql } from '../../db/connect.ts';
import { refusalOf } from '../channels/contract.ts';
import { walletId } from '../methods/authorization.ts';
import type { Crowd } from '../methods/crowd.ts';
import { chainAway, tooMany } from '../methods/deposit-steps.ts';
import type { Evm } from '../methods/evm.ts';
import type { Funded, PaymentRefusal, Tab } from '../methods/method.ts';
import { STANDS_MS, Standing } from '../methods/standing.ts';
import { least, type Nanousd } from '../money.ts';
import { repeat } from '../retry.ts';
import { nanousdOf, unitsFor } from '../units.ts';
import { type Means, meansOf, type Permit, settleCall } from './permit.ts';
import * as rows from './rows.ts';

export interface CreditOptions {
  readonly sql: Sql;
  readonly evm: Evm;
  readonly log: CreditLog;
  readonly crowd: Crowd;
  /** So much of one payer may be open. */
  readonly cap: Nanousd;
  /** How long a request waits for earlier ones of its payer to be settled. */
  readonly waitMs: number;
  /** Has what is due of a payer moved, as far as that can be hurried; answers how much of it there is. */
  readonly hurry: (payerId: string) => Promise<number>;
}

export interface CreditLog {
  warn(fields: object, message: string): void;
}

const PAUSE_MS = 100;
const END_LIMIT_MS = 10_000;
/** Some blocks. */
const MOVED_LIMIT_MS = 10_000;

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
      const settledBefore = await rows.settledOf(sql, payerId);
      const means = await this.#look(permit);
      if ('code' in means) return means;
      const opened = await rows.open(sql, {
        id,
        payerId,
        permit,
        most,
        means,
        settledBefore,
        cap,
        standsMs: STANDS_MS,
      });
      if (typeof opened !== 'string') {
        this.#standing.add(id);
        const tab = this.#tab(id, permit, most);
        return { accountId: opened.accountId, amount: most, reference: '', payer: payerId, network, tab };
      }
      if (opened === 'stale') continue;
      if (opened !== 'beyond' || performance.now() > endMs) return refusals[opened];
      // Who calls again at once has its last call moved first; what was moved just now is looked at once more.
      const owing = await this.#options.hurry(payerId);
      if (owing === 0 && !owed) return refusals[opened];
      owed = owing > 0;
      if (owed) await sleep(PAUSE_MS);
    }
  }

  /** Stands for open calls, until the returned function is called. */
  stand(): () => void {
    const { sql, log } = this.#options;
    return this.#standing.keep(
      (ids, standsMs) => rows.renew(sql, ids, standsMs),
      (error) => log.warn({ err: error }, 'open calls could not be renewed'),
    );
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

  #tab(id: string, permit: Permit, most: Nanousd): Tab {
    let closed: Promise<void> | null = null;
    let transaction = '';
    const { owner: payer } = permit;
    const network = this.#options.evm.network.id;
    return {
      most,
      // Of a stream that begins there is neither amount nor transaction yet.
      receipt: (charged, signed = {}) => {
        const amount = charged === null ? {} : { amount: String(unitsFor(charged)) };
        const settled = { success: true, transaction, network, payer, ...amount, ...signed };
        return { 'payment-response': encodePaymentResponseHeader(settled) };
      },
      close: (charged) => {
        closed ??= this.#close(id, permit, charged).then((moved) => {
          transaction = moved;
        });
        return closed;
      },
    };
  }

  /** What cannot be noted now is found by the account once nobody stands for the call. Answers by which transaction it was moved, if that is known. */
  async #close(id: string, permit: Permit, charged: Nanousd): Promise<string> {
    const { sql, log } = this.#options;
    this.#standing.delete(id);
    try {
      await repeat(() => rows.finish(sql, id, charged), END_LIMIT_MS);
      // The next approval that such a payer signs is good when this one was used, and not before.
      return permit.approval === null || charged === 0n ? '' : await this.#moved(id, permit);
    } catch (error) {
      log.warn({ err: error, upto: id }, 'the charge of a call could not be noted beside its maximum');
      return '';
    }
  }

  /** Waits for the chain, but not long. */
  async #moved(id: string, { owner }: Permit): Promise<string> {
    const { sql, evm, hurry } = this.#options;
    const endMs = performance.now() + MOVED_LIMIT_MS;
    for (;;) {
      // A node that does not answer now is asked again.
      await hurry(walletId(evm.network.id, owner)).catch(() => 0);
      const payment = await rows.find(sql, id);
      if (payment?.state !== 'due') return payment?.transaction ?? '';
      if (performance.now() > endMs) return '';
      await sleep(PAUSE_MS);
    }
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
