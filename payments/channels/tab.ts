/**
 * One call paid by a voucher. The voucher's ceiling is where the last one ended, plus the most that this call can cost. What it cost is
 * known when it is over, and a stream's head leaves before: then the payer is told the most, and the next call is charged that much less.
 */
import { encodePaymentResponseHeader } from '@x402/core/http';
import type { Headers, Tab } from '../methods/method.ts';
import type { Signed } from '../methods/offer-receipt.ts';
import type { Nanousd } from '../money.ts';
import { unitsFor } from '../units.ts';
import { stateOf } from './faults.ts';
import type { ChannelRow, Outcome } from './rows.ts';

export interface TabOptions {
  /** The channel as it was before. */
  readonly row: ChannelRow;
  readonly most: Nanousd;
  /** What the payer is told as long as it is not known what the call cost. */
  readonly announces: bigint;
  /** By CAIP-2. */
  readonly network: string;
  /** That brought the deposit; null: there was none with this voucher. */
  readonly transaction: string | null;
  /** Notes the end; null: all is as before. */
  readonly end: (outcome: Outcome | null) => Promise<void>;
}

/** The most units that a payer is told for a call of so much: every call that costs anything moves it on, so no voucher is good twice. */
export function announcedFor({ announced, spent }: ChannelRow, charged: Nanousd): bigint {
  if (charged === 0n) return announced;
  const whole = unitsFor(spent + charged);
  return whole > announced ? whole : announced + 1n;
}

export class ChannelTab implements Tab {
  readonly most: Nanousd;
  readonly #options: TabOptions;
  #told: bigint | null = null;
  #closed: Promise<void> | null = null;

  constructor(options: TabOptions) {
    this.#options = options;
    this.most = options.most;
  }

  receipt(charged: Nanousd | null, signed: Signed = {}): Headers {
    const { row, announces, network, transaction } = this.#options;
    this.#told ??= charged === null ? announces : announcedFor(row, charged);
    const settled = {
      success: true,
      transaction: transaction ?? '',
      network: network as `${string}:${string}`,
      payer: row.config.payer,
      amount: '',
      ...signed,
      extra: {
        chargedAmount: String(this.#told - row.announced),
        channelState: stateOf(row, this.#told),
      },
    };
    return { 'payment-response': encodePaymentResponseHeader(settled) };
  }

  close(charged: Nanousd): Promise<void> {
    this.#closed ??= this.#options.end(this.#outcome(charged));
    return this.#closed;
  }

  /** A call that was neither answered nor charged leaves its voucher good for another. */
  #outcome(charged: Nanousd): Outcome | null {
    if (this.#told === null && charged === 0n) return null;
    return { charged, announced: this.#told ?? announcedFor(this.#options.row, charged) };
  }
}
