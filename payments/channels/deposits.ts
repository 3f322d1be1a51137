/** What a channel has on the chain: brings deposits there, once each, and notes what the chain says. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sql } from '../../db/connect.ts';
import { type Hex, walletId } from '../methods/authorization.ts';
import type { Crowd } from '../methods/crowd.ts';
import { chainAway, tooMany } from '../methods/deposit-steps.ts';
import type { Evm } from '../methods/evm.ts';
import type { PaymentRefusal } from '../methods/method.ts';
import { NotSent, type Sender } from '../methods/sender.ts';
import { gasOf, PLAIN_SIGNATURE_LENGTH } from '../methods/settlement.ts';
import { type ChannelDeposit, depositCall, readChannels, refusalOf } from './contract.ts';
import { depositFailed, depositRefused, shortDeposit } from './faults.ts';
import { openChannel, syncChannel } from './rows.ts';
import { type ChannelConfig, depositNonce, type Voucher } from './typed-data.ts';

export interface DepositsOptions {
  readonly sql: Sql;
  readonly evm: Evm;
  readonly sender: Sender;
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

type Brought = { readonly transaction: Hex | null } | PaymentRefusal;

const GAS = 300_000n;
const PAUSE_MS = 20;

export class ChannelDeposits {
  readonly #options: DepositsOptions;

  constructor(options: DepositsOptions) {
    this.#options = options;
  }

  /** Notes a channel as it is on the chain, where it has anything. Null, or why that cannot be done now. */
  look(config: ChannelConfig, id: Hex): Promise<PaymentRefusal | null> {
    return this.#inTurn(config, async () => ((await this.#note(config, id)) === null ? chainAway : null));
  }

  /** Brings the deposit onto the chain, once, whoever sends it. */
  bring({ config, voucher }: ChannelPayment, deposit: ChannelDeposit): Promise<Brought> {
    return this.#inTurn(config, () => this.#bring(config, voucher, deposit));
  }

  /** No more at once than there is room for: whoever comes has the chain work for it. */
  async #inTurn<Outcome>({ payer }: ChannelConfig, work: () => Promise<Outcome>): Promise<Outcome | PaymentRefusal> {
    const { crowd, evm } = this.#options;
    const id = walletId(evm.network.id, payer);
    if (!crowd.admit(id)) return tooMany;
    try {
      return await work();
    } finally {
      crowd.leave(id);
    }
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
        return (await this.#covers(config, voucher)) ? { transaction: null } : depositRefused(refusal);
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
        if (await this.#covers(config, voucher)) return { transaction: hash };
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

  /** Whether the chain has what the voucher promises. */
  async #covers(config: ChannelConfig, { channelId, ceiling }: Voucher): Promise<boolean> {
    const balance = await this.#note(config, channelId);
    return balance !== null && balance > 0n && ceiling <= balance;
  }

  /** The balance of a channel, noted as it is deep enough in the chain; null when that does not answer. */
  async #note(config: ChannelConfig, id: Hex): Promise<bigint | null> {
    const { sql, evm } = this.#options;
    const { id: network } = evm.network;
    const [state] = await readChannels(evm, [id], { deep: true }).catch(() => []);
    if (state === undefined) return null;
    const payer = walletId(network, config.payer);
    // Of one that never had anything no row is made.
    if (state.balance > 0n) await openChannel(sql, { id, network, payer, config, state });
    else await syncChannel(sql, id, state);
    return state.balance;
  }
}
