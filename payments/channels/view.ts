/** What a channel has on the chain, noted as the chain says it. */
import type { Sql } from '../../db/connect.ts';
import { type Hex, walletId } from '../methods/authorization.ts';
import type { Crowd } from '../methods/crowd.ts';
import { chainAway, tooMany } from '../methods/deposit-steps.ts';
import type { Evm } from '../methods/evm.ts';
import type { PaymentRefusal } from '../methods/method.ts';
import type { Credential } from '../methods/x402.ts';
import { type ChannelDeposit, readChannels } from './contract.ts';
import { openChannel, syncChannel } from './rows.ts';
import type { ChannelConfig, Voucher } from './typed-data.ts';

export interface ViewOptions {
  readonly sql: Sql;
  readonly evm: Evm;
  readonly crowd: Crowd;
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
  /** The same as it came, for those to whom it is passed on. */
  readonly sent: Credential;
}

export class ChannelView {
  readonly #options: ViewOptions;

  constructor(options: ViewOptions) {
    this.#options = options;
  }

  /** Notes a channel as it is on the chain, where it has anything. Null, or why that cannot be done now. */
  look(config: ChannelConfig, id: Hex): Promise<PaymentRefusal | null> {
    return this.inTurn(config, async () => ((await this.#note(config, id)) === null ? chainAway : null));
  }

  /** No more at once than there is room for: whoever comes has the chain work for it. */
  async inTurn<Outcome>({ payer }: ChannelConfig, work: () => Promise<Outcome>): Promise<Outcome | PaymentRefusal> {
    const { crowd, evm } = this.#options;
    const id = walletId(evm.network.id, payer);
    if (!crowd.admit(id)) return tooMany;
    try {
      return await work();
    } finally {
      crowd.leave(id);
    }
  }

  /** Whether the chain has what the voucher promises. */
  async covers(config: ChannelConfig, { channelId, ceiling }: Voucher): Promise<boolean> {
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
