/** Moves what calls on credit were charged: the key that payers signed for sends it, and the chain says what became of it. */
import type { Sql } from '../../db/connect.ts';
import type { ContractCall } from '../channels/contract.ts';
import type { Evm } from '../methods/evm.ts';
import { NotSent, type Sender } from '../methods/sender.ts';
import { inTransaction } from '../retry.ts';
import { every } from '../rounds.ts';
import type { CreditLog } from './credit.ts';
import { arrival, type Permit, settleCall } from './permit.ts';
import * as rows from './rows.ts';

export interface CollectionsOptions {
  readonly sql: Sql;
  readonly evm: Evm;
  readonly sender: Sender;
  readonly log: CreditLog;
}

const ROUND_EVERY_MS = 2_000;
const GAS = 280_000n;

export class Collections {
  readonly #options: CollectionsOptions;

  constructor(options: CollectionsOptions) {
    this.#options = options;
  }

  /** Moves what is due, until the returned function is called. */
  watch(): () => Promise<void> {
    const { sql, log } = this.#options;
    const failed = (error: unknown) =>
      log.warn({ err: error }, 'a charge is not moved yet: the next round tries again');
    // At once, though nobody waits for it: the sooner it is moved, the smaller the risk, and the sooner the payer can sign anew.
    const listening = sql.listen(rows.DUE, (payerId) => void this.settleAll(payerId).catch(failed));
    listening.catch(failed);
    const end = every(ROUND_EVERY_MS, () => this.round(), failed);
    return async () => {
      end();
      await listening.then(({ unlisten }) => unlisten()).catch(() => {});
    };
  }

  /** Sends what is due, and notes what became of what was sent. */
  async round(): Promise<void> {
    await rows.finishLost(this.#options.sql);
    await this.settleAll(null);
  }

  /** Of one payer, or of all. Answers how many there were. */
  async settleAll(payerId: string | null): Promise<number> {
    const payments = await rows.due(this.#options.sql, payerId);
    for (const payment of payments) await this.#settle(payment);
    return payments.length;
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
    if (sent.hash === null) return;
    const arrived = await arrival(evm, sent.hash, permit, units, { isUsed: sent.state === 'mined' });
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
