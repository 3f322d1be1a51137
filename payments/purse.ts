/** Money of one payer in this instance's memory. At every moment: available + held + spent = granted. */
import type { Nanousd } from './money.ts';

/** Whose money it is, and the budgets that bind it: of the caller's key and of the keys above it, the nearest first. */
export interface Payer {
  readonly accountId: string;
  readonly budgets: readonly string[];
}

/** Where a call waits for money: its turn comes first in, first out. */
interface Waiter<Refusal> {
  readonly amount: Nanousd;
  readonly answer: (outcome: Purse<Refusal> | Refusal) => void;
  /** How often the other instances may still be asked for what they do not use. */
  recallsLeft: number;
}

/** What a grant asks the database for; see the statement in lease-statements.ts. */
export interface GrantSize {
  /** Less than this is of no use: what the first waiter still lacks. */
  readonly least: Nanousd;
  /** What all waiters need. */
  readonly need: Nanousd;
  /** A call of this size is usual: with only a few of them left, nothing is taken beyond the need. */
  readonly call: Nanousd;
  /** At most this much is taken beyond the need. */
  readonly extra: Nanousd;
}

export interface Grant {
  /** The total of the lease's grants, less what was given back. */
  readonly granted: Nanousd;
  /** What could still be leased. */
  readonly left: Nanousd;
  readonly asked: GrantSize;
  readonly nowMs: number;
}

const USUAL_CALLS_AHEAD = 16n;
const SPENDING_AHEAD_MS = 5_000n;
const DAY_MS = 86_400_000;
/** While one recall was answered a third instance may have taken the money: so it is asked again, a few times. */
const RECALLS = 3;
/** After a recall the agent's money is short: what one instance takes in advance, another would lack. */
const SHORT_MS = 5_000;

export class Purse<Refusal> {
  readonly accountId: string;
  readonly budgets: readonly string[];
  readonly leaseId: string;
  /** Can be held now. */
  available: Nanousd = 0n;
  /** Held by calls in flight. */
  held: Nanousd = 0n;
  /** From then on somebody else may have reclaimed the lease, and nothing may be taken. */
  expiresAtMs = Infinity;
  usedAtMs: number;
  #shortUntilMs = 0;
  /** The total of the lease's grants less what was given back, as far as the database told. */
  #granted: Nanousd = 0n;
  /** Below this it is time to ask for more. */
  #lowWater: Nanousd = 0n;
  #usualCall: Nanousd = 0n;
  #spentSinceGrant: Nanousd = 0n;
  #grantedAtMs: number;
  #waiters: Waiter<Refusal>[] = [];

  constructor({ accountId, budgets }: Payer, leaseId: string, nowMs: number) {
    this.accountId = accountId;
    this.budgets = budgets;
    this.leaseId = leaseId;
    this.#grantedAtMs = nowMs;
    this.usedAtMs = nowMs;
  }

  get isLow(): boolean {
    return this.available < this.#lowWater;
  }

  get hasWaiters(): boolean {
    return this.#waiters.length > 0;
  }

  /** Moves an amount from available to held; false when there is not enough. */
  take(amount: Nanousd): boolean {
    if (this.available < amount) return false;
    this.available -= amount;
    this.held += amount;
    this.#usualCall = amount;
    return true;
  }

  /** Ends a hold: what was charged is spent, the rest is available again. */
  release(amount: Nanousd, charged: Nanousd): void {
    this.held -= amount;
    this.available += amount - charged;
    this.#spentSinceGrant += charged;
    this.#serve();
  }

  /** Resolves with the purse that the amount was taken from: this one, or the one that took its waiters over. */
  wait(amount: Nanousd): Promise<Purse<Refusal> | Refusal> {
    const { promise, resolve } = Promise.withResolvers<Purse<Refusal> | Refusal>();
    this.#waiters.push({ amount, answer: resolve, recallsLeft: RECALLS });
    return promise;
  }

  /**
   * What to ask for now. The need covers the waiters in full, as calls that fit may take what is available meanwhile. Beyond
   * it, unless money is short: some calls ahead, as much again as is held, and a few seconds of what was spent lately.
   */
  nextGrant(nowMs: number): GrantSize {
    const first = this.#waiters[0]?.amount ?? 0n;
    const call = first > this.#usualCall ? first : this.#usualCall;
    const rate = (this.#spentSinceGrant * SPENDING_AHEAD_MS) / wholeMs(nowMs - this.#grantedAtMs);
    return {
      least: first > this.available ? first - this.available : 0n,
      need: this.#waiters.reduce((sum, { amount }) => sum + amount, 0n),
      call,
      extra: nowMs < this.#shortUntilMs ? 0n : USUAL_CALLS_AHEAD * call + this.held + rate,
    };
  }

  /**
   * Takes in what the database granted so far in all (a grant whose answer was lost comes in with the next one) and serves the
   * waiters in turn. Those whom neither the purse nor what is left to lease can serve are refused; but it
   * answers true when the other instances should first be asked for what they do not use.
   */
  receive(grant: Grant, refusal: (available: Nanousd) => Refusal): boolean {
    const received = grant.granted - this.#granted;
    const beyond = received - grant.asked.need;
    this.#granted = grant.granted;
    this.#grantedAtMs = grant.nowMs;
    this.#spentSinceGrant = 0n;
    this.#lowWater = beyond > 0n ? beyond / 2n : 0n;
    this.available += received;
    for (;;) {
      this.#serve();
      const first = this.#waiters[0];
      if (first === undefined || first.amount <= this.available + grant.left) return false;
      if (first.recallsLeft > 0) return true;
      this.#waiters.shift();
      first.answer(refusal(this.available + grant.left));
    }
  }

  /** The other instances were asked for everybody who waits now; unless they `answered`, there is no use in asking again. */
  recalled(answered: boolean, nowMs: number): void {
    this.#shortUntilMs = nowMs + SHORT_MS;
    for (const waiter of this.#waiters) waiter.recallsLeft = answered ? waiter.recallsLeft - 1 : 0;
  }

  /** Takes out all that no call holds, for the way back to the prepaid account. */
  giveBack(nowMs: number): Nanousd {
    const amount = this.available;
    this.#shortUntilMs = nowMs + SHORT_MS;
    this.available = 0n;
    this.#granted -= amount;
    this.#lowWater = 0n;
    return amount;
  }

  /** Refuses everybody who waits. */
  refuseAll(refusal: Refusal): void {
    for (const { answer } of this.#waiters.splice(0)) answer(refusal);
  }

  /** Takes over everybody who waits for another purse of the same payer. */
  takeOver(other: Purse<Refusal>): void {
    this.#waiters.push(...other.#waiters.splice(0));
  }

  #serve(): void {
    for (let first = this.#waiters[0]; first !== undefined && this.take(first.amount); first = this.#waiters[0]) {
      this.#waiters.shift();
      first.answer(this);
    }
  }
}

/** From one millisecond to one day. */
function wholeMs(ms: number): bigint {
  if (ms < 1) return 1n;
  return ms < DAY_MS ? BigInt(ms | 0) : BigInt(DAY_MS);
}
