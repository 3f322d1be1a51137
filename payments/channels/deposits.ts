/** Brings deposits of channels onto the chain, once each. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sql } from '../../db/connect.ts';
import type { Hex } from '../methods/authorization.ts';
import { chainAway } from '../methods/deposit-steps.ts';
import type { Evm } from '../methods/evm.ts';
import type { PaymentRefusal } from '../methods/method.ts';
import { NotSent, type Sender } from '../methods/sender.ts';
import { gasOf, PLAIN_SIGNATURE_LENGTH } from '../methods/settlement.ts';
import { type ChannelDeposit, depositCall, refusalOf } from './contract.ts';
import { depositFailed, depositRefused, shortDeposit } from './faults.ts';
import { type ChannelConfig, depositNonce, type Voucher } from './typed-data.ts';
import type { ChannelPayment, ChannelsLog, ChannelView } from './view.ts';

export interface DepositsOptions {
  readonly sql: Sql;
  readonly evm: Evm;
  readonly sender: Sender;
  readonly log: ChannelsLog;
  readonly view: ChannelView;
  /** How long a request waits for its deposit to arrive. */
  readonly waitMs: number;
}

export type Brought = { readonly transaction: Hex | null } | PaymentRefusal;

const GAS = 300_000n;
const PAUSE_MS = 20;

export class ChannelDeposits {
  readonly #options: DepositsOptions;

  constructor(options: DepositsOptions) {
    this.#options = options;
  }

  /** Brings the deposit onto the chain, once, whoever sends it. */
  bring({ config, voucher }: ChannelPayment, deposit: ChannelDeposit): Promise<Brought> {
    return this.#options.view.inTurn(config, () => this.#bring(config, voucher, deposit));
  }

  async #bring(config: ChannelConfig, voucher: Voucher, deposit: ChannelDeposit): Promise<Brought> {
    const { sql, evm, sender, log } = this.#options;
    const purpose = `channel:${depositNonce(voucher.channelId, deposit.salt)}`;
    const call = depositCall(config, deposit);
    try {
      await evm.check();
      const refusal = (await sender.find(sql, purpose)) === null ? await refusalOf(evm, call) : null;
      if (refusal !== null) {
        // Somebody may have sent it in our place, or long ago.
        return (await this.#options.view.covers(config, voucher)) ? { transaction: null } : depositRefused(refusal);
      }
      const gas = deposit.signature.length === PLAIN_SIGNATURE_LENGTH ? GAS : await gasOf(evm, call);
      await sender.send({ purpose, ...call, gas });
      return await this.#arrival(purpose, config, voucher);
    } catch (error) {
      if (!(error instanceof NotSent)) log.warn({ err: error }, 'the chain does not answer: no deposits for now');
      return chainAway;
    }
  }

  async #arrival(purpose: string, config: ChannelConfig, voucher: Voucher): Promise<Brought> {
    const { sql, evm, sender, waitMs } = this.#options;
    const endMs = performance.now() + waitMs;
    for (;;) {
      // One that was replaced has another hash.
      const hash = (await sender.find(sql, purpose))?.hash ?? null;
      const receipt = hash === null ? null : await evm.client.getTransactionReceipt({ hash }).catch(() => null);
      if (receipt !== null) {
        if (await this.#options.view.covers(config, voucher)) return { transaction: hash };
        if (receipt.status !== 'success') return depositFailed;
        const deepest = await evm.deepest();
        if (deepest === null || deepest >= receipt.blockNumber) return shortDeposit;
      }
      if (performance.now() > endMs) {
        return { code: 'unknown', reason: 'this deposit was sent and is not seen yet: ask again with the same one' };
      }
      await sleep(PAUSE_MS);
    }
  }
}
