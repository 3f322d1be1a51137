/** One agent's money in this instance's memory. At every moment: available + held + spent = granted. */
import type { Nanousd } from './money.ts';

/** Where a call waits for money: its turn comes first in, first out. */
interface Waiter<Refusal> {
  readonly amount: Nanousd;
  readonly answer: (outcome: true | Refusal) => void;
}

/** What a grant asks the database for; see the statement in leases.ts. */
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

const USUAL_CALLS_AHEAD = 16n;
const SPENDING_AHEAD_MS = 5_000n;
const DAY_MS = 86_400_000;

export class Purse<Refusal> {
  readonly accountId: string;
  readonly leaseId: string;
  /** Can be held now. */
  available: Nanousd = 0n;
  /** Held by calls in flight. */
  held: Nanousd = 0n;
  /** The total of the lease's grants, as far as the database told. */
  #granted: Nanousd = 0n;
  /** Below this it is time to ask for more. */
  #lowWater: Nanousd = 0n;
  #usualCall: Nanousd = 0n;
  #spentSinceGrant: Nanousd = 0n;
  #grantedAtMs: number;
  #waiters: Waiter<Refusal>[] = [];

  constructor(accountId: string, leaseId: string, nowMs: number) {
    this.accountId = accountId;
    this.leaseId = leaseId;
    this.#grantedAtMs = nowMs;
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

  wait(amount: Nanousd): Promise<true | Refusal> {
    const { promise, resolve } = Promise.withResolvers<true | Refusal>();
    this.#waiters.push({ amount, answer: resolve });
    return promise;
  }

  /**
   * What to ask for now. The need covers the waiters in full, as calls that fit may take what is available meanwhile. Beyond
   * it: some calls ahead, as much again as is held, and a few seconds of what was spent lately.
   */
  nextGrant(nowMs: number): GrantSize {
    const first = this.#waiters[0]?.amount ?? 0n;
    const call = first > this.#usualCall ? first : this.#usualCall;
    return {
      least: first > this.available ? first - this.available : 0n,
      need: this.#waiters.reduce((sum, { amount }) => sum + amount, 0n),
      call,
      extra:
        USUAL_CALLS_AHEAD * call +
        this.held +
        (this.#spentSinceGrant * SPENDING_AHEAD_MS) / wholeMs(nowMs - this.#grantedAtMs),
    };
  }

  /**
   * Takes in what the database granted so far in all (a grant whose answer was lost comes in with the next one), serves the
   * waiters in turn, and refuses those whom neither the purse nor what is `left` in the prepaid account can serve.
   */
  receive(
    grant: { granted: Nanousd; left: Nanousd; asked: GrantSize; nowMs: number },
    refusal: (available: Nanousd) => Refusal,
  ): void {
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
      if (first === undefined || first.amount <= this.available + grant.left) return;
      this.#waiters.shift();
      first.answer(refusal(this.available + grant.left));
    }
  }

  /** Refuses everybody who waits. */
  refuseAll(refusal: Refusal): void {
    for (const { answer } of this.#waiters.splice(0)) answer(refusal);
  }

  #serve(): void {
    for (let first = this.#waiters[0]; first !== undefined && this.take(first.amount); first = this.#waiters[0]) {
      this.#waiters.shift();
      first.answer(true);
    }
  }
}

/** From one millisecond to one day. */
function wholeMs(ms: number): bigint {
  if (ms < 1) return 1n;
  return ms < DAY_MS ? BigInt(ms | 0) : BigInt(DAY_MS);
}
