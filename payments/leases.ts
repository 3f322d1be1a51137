/**
 * Leases: slices of agents' money that this instance may spend in memory. A lease is a real transfer from the prepaid
 * account to an escrow account of the lease's id, so the sum of all leases can never exceed what was deposited. What lies
 * idle goes back by itself, and at once when another instance would have to refuse a call for want of it (a recall).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { v7 as uuidv7 } from 'uuid';
import type { Sql } from '../db/connect.ts';
import * as statements from './lease-statements.ts';
import type { Nanousd } from './money.ts';
import type { Payer, Purse } from './purse.ts';
import { Purses } from './purses.ts';
import { RECALLS, type Recall, recall, unanswered } from './recall-statements.ts';
import { isTransient, repeat, withDeadline } from './retry.ts';

export type Refusal =
  /** `budget`: the key whose budget binds, where it is not the balance. */
  | { readonly code: 'insufficient_balance'; readonly available: Nanousd; readonly budget: string | null }
  | { readonly code: 'ledger_unavailable'; readonly retryAfterMs: number };

export type AgentPurse = Purse<Refusal>;

export interface LeasesOptions {
  readonly sql: Sql;
  readonly holder: statements.Holder;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** When what earlier lives of this instance had leased is back. */
  readonly earlierSettled: Promise<void>;
  /** Hears of errors that are no mere absence of the database. */
  readonly report: (error: unknown) => void;
}

/** A statement is tried for this long before those who wait for it are told that the ledger is away. */
const STATEMENT_LIMIT_MS = 2_000;
const RETRY_AFTER_MS = 1_000;
/** After a failed grant nobody asks in advance for this long. */
const PREFETCH_PAUSE_MS = 500;
/** Other instances have a good second to give back what they do not use, in pauses that double. Most need milliseconds. */
const RECALL_POLL_MS = 5;
const RECALL_PAUSE_MAX_MS = 640;
/** One that was silent may have come back just now, and answers soon if it has. */
const SILENT_PAUSE_MAX_MS = 40;
/** Nothing held and nothing taken for so long: the money goes back. */
const IDLE_MS = 60_000;
const TEND_EVERY_MS = 10_000;
/** After an outage the other instances first have this long to renew their leases and to settle what they spent. */
const CONTACT_BEFORE_RECLAIM_MS = 60_000;

export class Leases {
  readonly #options: LeasesOptions;
  readonly #purses = new Purses<Refusal>();
  /** Purses that a statement is under way for: one at a time each, as grants and returns must not overtake one another. */
  readonly #busy = new Set<AgentPurse>();
  /** Purses to empty, because of a recall or for idleness. */
  readonly #emptying = new Set<AgentPurse>();
  /** Returns whose commit nobody saw: to be repeated under the same id before anything else. */
  readonly #unseen = new Map<AgentPurse, { txnId: string; amount: Nanousd }>();
  #prefetchFromMs = 0;
  /** Since when the database has answered whenever it was asked to reclaim. */
  #contactSinceMs: number;
  /** True once a younger life of this instance has begun: this one gets no more money. */
  fenced = false;

  constructor(options: LeasesOptions) {
    this.#options = options;
    this.#contactSinceMs = options.now();
  }

  /** Takes from the payer's purse at once, or answers null: then `obtain` waits for a grant. */
  take(payer: Payer, amount: Nanousd): AgentPurse | null {
    const nowMs = this.#options.now();
    const purse = this.#purses.of(payer, nowMs);
    if (nowMs >= purse.expiresAtMs || !purse.take(amount)) return null;
    purse.usedAtMs = nowMs;
    if (purse.isLow && nowMs >= this.#prefetchFromMs) this.#work(purse);
    return purse;
  }

  /** Takes after the next grants, in turn with the others who wait; a refusal tells what is there at most. */
  obtain(payer: Payer, amount: Nanousd): Promise<AgentPurse | Refusal> {
    const nowMs = this.#options.now();
    const purse = this.#purses.of(payer, nowMs);
    purse.usedAtMs = nowMs;
    const outcome = purse.wait(amount);
    this.#work(purse);
    return outcome;
  }

  /** What the account's calls in flight hold here. */
  heldBy(accountId: string): Nanousd {
    return this.#purses.ofAccount(accountId).reduce((sum, { held }) => sum + held, 0n);
  }

  /** Answers recalls, renews what is used, gives back what is idle, and reclaims what dead instances left. Answers how to end. */
  async watch(): Promise<() => Promise<void>> {
    const { unlisten } = await this.#options.sql.listen(RECALLS, (payload) => {
      const { account, asker, budgets } = JSON.parse(payload) as Recall;
      for (const purse of this.#purses.ofAccount(account)) {
        const isMeant = budgets === null || budgets.some((budget) => purse.budgets.includes(budget));
        if (isMeant && purse.leaseId !== asker) this.#empty(purse);
      }
    });
    const timer = setInterval(() => void this.#tend(), TEND_EVERY_MS);
    timer.unref();
    return async () => {
      clearInterval(timer);
      await unlisten();
    };
  }

  async #tend(): Promise<void> {
    const nowMs = this.#options.now();
    const ageing: AgentPurse[] = [];
    // What an error left undone.
    for (const purse of [...this.#emptying, ...this.#unseen.keys()]) this.#work(purse);
    for (const purse of this.#purses.all()) {
      if (purse.held === 0n && nowMs - purse.usedAtMs > IDLE_MS) this.#empty(purse);
      else if (purse.expiresAtMs - nowMs < statements.LEASE_MS / 2) ageing.push(purse);
    }
    await this.#renew(ageing)
      .then(() => this.#reclaim())
      .catch((error) => {
        this.#contactSinceMs = this.#options.now();
        if (!isTransient(error)) this.#options.report(error);
      });
  }

  async #reclaim(): Promise<void> {
    const { sql, now } = this.#options;
    const due = await statements.reclaimable(sql);
    if (due && now() - this.#contactSinceMs >= CONTACT_BEFORE_RECLAIM_MS) await statements.reclaimLeases(sql);
  }

  /** Prolongs leases; those that somebody reclaimed are forgotten. Time counts from before the statement. */
  async #renew(purses: readonly AgentPurse[]): Promise<void> {
    if (purses.length === 0) return;
    const sentAtMs = this.#options.now();
    const { sql, holder } = this.#options;
    const leases = purses.map(({ leaseId }) => leaseId);
    const renewed = await repeat(() => statements.renew(sql, holder, leases), STATEMENT_LIMIT_MS);
    const recalled = new Map(renewed.map((lease) => [lease.id, lease.recalled]));
    for (const purse of purses) {
      const isAsked = recalled.get(purse.leaseId);
      if (isAsked === undefined) this.#forget(purse);
      else purse.expiresAtMs = sentAtMs + statements.LEASE_MS;
      if (isAsked === true) this.#empty(purse);
    }
  }

  /** Its lease is closed: who still waits, waits for the next one. */
  #forget(purse: AgentPurse): void {
    this.#purses.delete(purse);
    if (!purse.hasWaiters) return;
    const next = this.#purses.of(purse, this.#options.now());
    next.takeOver(purse);
    this.#work(next);
  }

  #empty(purse: AgentPurse): void {
    this.#emptying.add(purse);
    this.#work(purse);
  }

  #work(purse: AgentPurse): void {
    if (this.#busy.has(purse)) return;
    this.#busy.add(purse);
    void this.#workWhileNeeded(purse).then((done) => {
      this.#busy.delete(purse);
      // Something may have come up between the last look and now. After an error the rest waits for the next round.
      if (purse.hasWaiters || (done && this.#emptying.has(purse))) this.#work(purse);
    });
  }

  /** False when an error ended it. */
  async #workWhileNeeded(purse: AgentPurse): Promise<boolean> {
    do {
      try {
        if (this.#unseen.has(purse) || this.#emptying.delete(purse)) await this.#giveBack(purse);
        else if (this.#options.now() >= purse.expiresAtMs) await this.#renew([purse]);
        else await this.#grant(purse);
      } catch (error) {
        if (!isTransient(error)) this.#options.report(error);
        this.#refuse(purse);
        return false;
      }
    } while (this.#emptying.has(purse) || (purse.hasWaiters && this.#purses.has(purse)));
    return true;
  }

  /** The ledger is away, or refuses this life of the instance. */
  #refuse(purse: AgentPurse): void {
    this.#prefetchFromMs = this.#options.now() + PREFETCH_PAUSE_MS;
    purse.refuseAll({ code: 'ledger_unavailable', retryAfterMs: RETRY_AFTER_MS });
  }

  async #grant(purse: AgentPurse): Promise<void> {
    if (this.fenced) return this.#refuse(purse);
    const { sql, holder, now } = this.#options;
    const txnId = uuidv7();
    const sentAtMs = now();
    const asked = purse.nextGrant(sentAtMs);
    const row = await repeat(() => statements.grant(sql, holder, purse, asked, txnId), STATEMENT_LIMIT_MS);
    this.fenced = !row.current;
    if (this.fenced) return this.#refuse(purse);
    if (!row.open) return this.#forget(purse);
    purse.expiresAtMs = sentAtMs + statements.LEASE_MS;
    const short = purse.receive({ ...row, asked, nowMs: now() }, (available) => ({
      code: 'insufficient_balance',
      available,
      budget: row.budget,
    }));
    if (short) await this.#recall(purse);
  }

  /** Asks the holders of other leases, here and elsewhere, for what they do not use, and waits until they have answered. */
  async #recall(purse: AgentPurse): Promise<void> {
    const { sql, now, earlierSettled } = this.#options;
    await withDeadline(earlierSettled, STATEMENT_LIMIT_MS);
    const { least } = purse.nextGrant(now());
    const { asked, back } = await repeat(() => recall(sql, purse, least), STATEMENT_LIMIT_MS);
    // What came back is for whoever is first: another one may take it and more, and is asked for that then.
    if (asked.length === 0) return purse.recalled(back, now());
    const lively = asked.filter(({ silent }) => !silent);
    for (let pauseMs = RECALL_POLL_MS; pauseMs <= RECALL_PAUSE_MAX_MS; pauseMs *= 2) {
      const awaited = pauseMs <= SILENT_PAUSE_MAX_MS ? asked : lively;
      if (awaited.length === 0) break;
      await sleep(pauseMs);
      // Two that recall from each other must not wait for each other.
      if (this.#emptying.delete(purse)) await this.#giveBack(purse);
      const waiting = await repeat(() => unanswered(sql, awaited), STATEMENT_LIMIT_MS);
      if (!waiting) return purse.recalled(true, now());
    }
    purse.recalled(false, now());
  }

  async #giveBack(purse: AgentPurse): Promise<void> {
    const { sql, holder } = this.#options;
    const back = this.#unseen.get(purse) ?? { txnId: uuidv7(), amount: purse.giveBack(this.#options.now()) };
    this.#unseen.set(purse, back);
    const giveBack = () => statements.giveBack(sql, holder, purse.leaseId, back);
    const { closed } = await repeat(giveBack, STATEMENT_LIMIT_MS);
    this.#unseen.delete(purse);
    if (closed) this.#forget(purse);
  }
}
