/**
 * Pays out what is booked: signs each payout's one authorization, sends many in one transaction, and asks the chain what became of
 * them. It may be killed anywhere and run in many processes: what the token's own record says of an authorization is all that counts.
 */
import type { LocalAccount } from 'viem';
import type { Sql } from '../../db/connect.ts';
import { MULTICALL3 } from '../chain/networks.ts';
import type { Evm } from '../methods/evm.ts';
import { NotSent, type Sender } from '../methods/sender.ts';
import { returnPayout, settlePayout } from './booking.ts';
import { batchCall, refusalsOf, type SignedPayout, signPayout } from './calls.ts';
import { type Booked, claimDue, noteReason, pendingPayouts } from './claims.ts';
import { outcomesOf } from './outcomes.ts';

export interface PaymasterOptions {
  readonly sql: Sql;
  readonly evm: Evm;
  readonly treasury: LocalAccount;
  readonly sender: Sender;
  /** What lies so many blocks deep is final. */
  readonly confirmations: bigint;
  /** After this, and then after twice as long each time, what is not paid is sent again. */
  readonly retryMs: number;
  readonly log: { warn(fields: object, message: string): void };
}

/** What a transaction needs in any case, and for each transfer to a wallet that had no USDC before, with a margin. */
const GAS_BASE = 60_000n;
const GAS_PER_PAYOUT = 95_000n;

export class Paymaster {
  readonly #options: PaymasterOptions;
  /** Used without a transfer, when last looked: a node may show what a block did a moment before its logs. */
  #odd: ReadonlySet<string> = new Set();

  constructor(options: PaymasterOptions) {
    this.#options = options;
  }

  /** Books what the chain did, sends what is due, and answers how many payouts are still pending. */
  async round(): Promise<number> {
    const pending = await pendingPayouts(this.#options);
    if (pending.length === 0) return 0;
    const closed = await this.#reconcile(pending);
    await this.#send();
    return pending.length - closed;
  }

  async #reconcile(pending: readonly Booked[]): Promise<number> {
    const { sql, log } = this.#options;
    let closed = 0;
    const odd = new Set<string>();
    for (const { payout, outcome } of await outcomesOf(this.#options, pending)) {
      if (outcome.state === 'odd') odd.add(payout.id);
      if (outcome.state === 'odd' && this.#odd.has(payout.id))
        log.warn({ payout: payout.id }, 'an authorization was used and moved no money');
      if (outcome.state === 'paid' && (await settlePayout(sql, payout.id, outcome.transaction))) closed += 1;
      if (outcome.state === 'expired' && (await returnPayout(sql, payout.id))) closed += 1;
    }
    this.#odd = odd;
    return closed;
  }

  async #send(): Promise<void> {
    const { sql, evm, treasury, sender, log } = this.#options;
    const batch = await claimDue(this.#options, await evm.head());
    if (batch === null) return;
    const signed: SignedPayout[] = [];
    for (const payout of batch.payouts) signed.push(await signPayout(treasury, evm.network, payout));
    // Whoever cannot be paid now must not cost gas, and is told why.
    const refusals = await refusalsOf(evm, signed);
    const payable = signed.filter(({ payout }) => !refusals.has(payout.id));
    for (const [id, reason] of refusals) await noteReason(sql, id, reason);
    if (payable.length === 0) return;
    const transaction = {
      purpose: `payouts:${batch.id}`,
      to: MULTICALL3,
      data: batchCall(evm.network, payable),
      gas: GAS_BASE + GAS_PER_PAYOUT * BigInt(payable.length),
    };
    await sender.send(transaction).catch((error: unknown) => {
      if (!(error instanceof NotSent)) throw error;
      log.warn({ err: error, payouts: payable.length }, 'payouts could not be sent and will be tried again');
    });
  }
}
