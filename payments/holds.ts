/**
 * Holds: the worst case of each call in flight, taken from its agent's purse in memory. A hold is resolved exactly once, by
 * capture, void or its expiry; whatever comes after changes nothing.
 */
import type { Journal } from './journal.ts';
import type { AgentPurse, Leases, Refusal } from './leases.ts';
import { least, type Nanousd } from './money.ts';
import { type Entry, OpenList } from './open-list.ts';
import { cost, operatorShare } from './prices.ts';
import type { Payer } from './purse.ts';
import { type Closing, type Holding, type Opening, openingText, recordText, unused } from './record.ts';
import type { Settler } from './settle.ts';

export interface HoldRequest {
  /** A UUIDv7: the key of exactly-once settling. */
  readonly callId: string;
  readonly accountId: string;
  readonly keyId: string;
  /** Keys whose budgets bind the call: its own or keys above it, the nearest first; none by default. */
  readonly budgets?: readonly string[];
  /** The worst case, by `quote`. */
  readonly amount: Nanousd;
}

export interface Hold {
  readonly callId: string;
  readonly amount: Nanousd;
  /** What was charged; 0 until the hold is resolved. */
  readonly charged: Nanousd;
  /**
   * The call is about to be dispatched: journaled of a stream, whose caller hears of it before its end. Of a whole answer nothing is delivered
   * before its charge is written, so that a crash before that leaves nothing to charge, and nobody who could ask for it.
   */
  open(opening: Opening): void;
  /** Journals how far the call has come: what it is charged when the process dies or the hold expires. */
  progress(closing: Closing): void;
  /**
   * Charges what was used, at most the hold, and puts the rest back, at once; resolves when the charge is as safe as the
   * acknowledgement level asks. Throws a RangeError, and changes nothing, on counts that are not whole.
   */
  capture(closing: Closing): Promise<void>;
  /** Puts all back. A call that was opened, or has a closing, is recorded with a charge of 0; others leave no trace. */
  void(closing?: Closing): Promise<void>;
}

/** `database`: resolved only by the commit of the settle statement. The other levels ask the journal. */
export type Acknowledgement = 'page' | 'disk' | 'database';

export interface HoldsOptions {
  readonly leases: Leases;
  readonly settler: Settler;
  /** Null where there is no disk. */
  readonly journal: Journal | null;
  readonly ack: Acknowledgement;
  /** A hold that nobody resolved is resolved after this, at its last progress. */
  readonly expiryMs: number;
  /** While so many closed calls wait for the database nobody is admitted: their number bounds memory and journal. */
  readonly unsettledMax: number;
  /** Monotonic milliseconds. */
  readonly now: () => number;
}

const UNWELL_RETRY_AFTER_MS = 1_000;
const NO_BUDGETS: readonly string[] = [];

export class Holds {
  readonly #options: HoldsOptions;
  /** In order of admission, which is the order of expiry. */
  readonly #open = new OpenList<OpenHold>();
  #closed = false;

  constructor(options: HoldsOptions) {
    this.#options = options;
  }

  /** Holds an amount: at once when the purse suffices, otherwise after a grant. */
  hold(request: HoldRequest): Hold | Promise<Hold | Refusal> {
    if (!this.accepting) return Promise.resolve({ code: 'ledger_unavailable', retryAfterMs: UNWELL_RETRY_AFTER_MS });
    const { accountId, budgets = NO_BUDGETS, amount } = request;
    const payer = { accountId, budgets };
    const purse = this.#options.leases.take(payer, amount);
    return purse === null ? this.#obtain(request, payer) : this.#admit(request, purse);
  }

  /** What the account's calls in flight hold in this instance. */
  heldBy(accountId: string): Nanousd {
    return this.#options.leases.heldBy(accountId);
  }

  /** False when no hold could be journaled or settled, or none is wanted any more. */
  get accepting(): boolean {
    const { journal, leases, settler, unsettledMax } = this.#options;
    if (this.#closed || leases.fenced || settler.waiting >= unsettledMax) return false;
    return journal === null || journal.failure === null;
  }

  /** Resolves the holds that are due, at their last progress. */
  expire(): void {
    const nowMs = this.#options.now();
    for (const hold of this.#open) {
      if (hold.expiresAtMs > nowMs) return;
      hold.expire();
    }
  }

  /** Admits nobody more and resolves what is open, at its last progress. */
  close(): void {
    this.#closed = true;
    for (const hold of this.#open) hold.expire();
  }

  async #obtain(request: HoldRequest, payer: Payer): Promise<Hold | Refusal> {
    const outcome = await this.#options.leases.obtain(payer, request.amount);
    if ('code' in outcome) return outcome;
    if (this.accepting) return this.#admit(request, outcome);
    outcome.release(request.amount, 0n);
    return { code: 'ledger_unavailable', retryAfterMs: UNWELL_RETRY_AFTER_MS };
  }

  #admit(request: HoldRequest, purse: AgentPurse): Hold {
    return new OpenHold(request, purse, this.#options, this.#open);
  }
}

class OpenHold implements Hold, Holding {
  readonly callId: string;
  readonly keyId: string;
  readonly amount: Nanousd;
  readonly expiresAtMs: number;
  charged: Nanousd = 0n;
  readonly #purse: AgentPurse;
  readonly #options: HoldsOptions;
  readonly #open: OpenList<OpenHold>;
  readonly #place: Entry<OpenHold>;
  #opening: Opening | null = null;
  /** How far the call has come, as last journaled. */
  #progress: Closing | null = null;
  /** The journal segment that the call's records begin in. */
  #segment: number | null = null;
  #resolution: Promise<void> | null = null;

  constructor(request: HoldRequest, purse: AgentPurse, options: HoldsOptions, open: OpenList<OpenHold>) {
    this.callId = request.callId;
    this.amount = request.amount;
    this.expiresAtMs = options.now() + options.expiryMs;
    this.keyId = request.keyId;
    this.#purse = purse;
    this.#options = options;
    this.#open = open;
    this.#place = open.add(this);
  }

  get accountId(): string {
    return this.#purse.accountId;
  }

  get leaseId(): string {
    return this.#purse.leaseId;
  }

  open(opening: Opening): void {
    if (this.#resolution !== null) return;
    this.#opening = opening;
    this.#progress = null;
    if (opening.streamed) this.#journal('open', openingText(this, opening));
  }

  progress(closing: Closing): void {
    if (this.#resolution !== null) return;
    this.#progress = closing;
    this.#journal('progress', this.#text(closing, this.#chargeFor(closing)));
  }

  capture(closing: Closing): Promise<void> {
    this.#resolution ??= this.#close(closing, this.#chargeFor(closing));
    return this.#resolution;
  }

  void(closing?: Closing): Promise<void> {
    const recorded = closing ?? this.#last;
    this.#resolution ??= recorded === null ? this.#vanish() : this.#close(recorded, 0n);
    return this.#resolution;
  }

  expire(): void {
    const last = this.#last;
    if (last === null) void this.void();
    else void this.capture({ ...last, outcome: 'aborted' });
  }

  /** The call as it stands, as far as anybody told; null before it was opened. */
  get #last(): Closing | null {
    return this.#progress ?? (this.#opening === null ? null : unused(this.#opening, 'failed'));
  }

  #close(closing: Closing, charged: Nanousd): Promise<void> {
    const text = this.#text(closing, charged);
    this.charged = charged;
    this.#journal('close', text);
    this.#release();
    const settled = this.#options.settler.add({ text, segment: this.#segment });
    return this.#acknowledgement(settled);
  }

  #vanish(): Promise<void> {
    this.#release();
    return Promise.resolve();
  }

  #release(): void {
    this.#purse.release(this.amount, this.charged);
    this.#open.remove(this.#place);
  }

  /** A charge that the journal cannot keep is safe only in the database. */
  async #acknowledgement(settled: Promise<void>): Promise<void> {
    const { journal, ack, settler } = this.#options;
    if (ack === 'database' || journal === null || !(await journal.flushed())) {
      settler.hurry();
      await settled;
    }
  }

  #journal(kind: 'open' | 'progress' | 'close', text: string): void {
    const { journal } = this.#options;
    if (journal === null) return;
    this.#segment ??= journal.begin();
    journal.append(kind, text);
  }

  #chargeFor(closing: Closing): Nanousd {
    return least(cost(closing.price, closing), this.amount);
  }

  #text(closing: Closing, charged: Nanousd): string {
    const share = closing.operatorId === null ? 0n : operatorShare(charged, closing.operatorSharePpm);
    return recordText(this, closing, { charged, share });
  }
}
