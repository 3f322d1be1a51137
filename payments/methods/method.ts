/** What a way to pay on a 402 is: it offers, reads what a caller answers to the offer, and moves the money. */
import type { Nanousd } from '../money.ts';
import type { Signed } from './offer-receipt.ts';

/** What a 402 asks for. */
export interface Charge {
  /** The least that lets the request through. */
  readonly amount: Nanousd;
  /** The most that it can cost, for who pays by the use; null: it is no call, and must be paid ahead. */
  readonly cost: Nanousd | null;
  /** The address of what is paid for. */
  readonly url: string;
  readonly description: string;
  /** `sha-256=…` of the request's body. */
  readonly digest: string;
  /** Why an earlier payment did not do; null for a first offer. */
  readonly error: string | null;
  /** The same in the words of the payment's protocol, where it has any. */
  readonly fault: Fault | null;
  /** Whether the request carries a key of its own beside the payment. */
  readonly keyed: boolean;
}

export type Headers = Readonly<Record<string, string>>;

/** What a protocol calls a mistake, and what it tells clients that can mend theirs. */
export interface Fault {
  readonly code: string;
  /** Members of the `extra` of the offer. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** A request's header by its name in lower case. */
export type HeaderOf = (name: string) => string | undefined;

export interface PaymentMethod {
  readonly name: string;
  /** Headers of a 402. */
  offer(charge: Charge): Headers;
  /** The payment that a request carries for this method; null: none. Throws `BadPayment`. */
  read(header: HeaderOf): Payment | null;
}

/** A payment as it came: read, not yet believed. */
export interface Payment {
  /** The same for copies of one payment, different for all others. */
  readonly id: string;
  /** The payer's CAIP-10 name, as it says; proven when it is funded. */
  readonly payer: string;
  /** What its client calls the request, to have its answer again; null: nothing. */
  readonly name: string | null;
  /** What it moves when it is good. */
  readonly amount: Nanousd;
  /** Of the body that it was made for; null: for any. */
  readonly digest: string | null;
  /**
   * Moves its money into an account: that of the key beside it, or the payer's own (null); by the use, at most `cost`, where that is its
   * way. Answers when the money is there. The second time, and of fifty at once, only one is told so.
   */
  fund(accountId: string | null, cost: Nanousd | null): Promise<Funded | PaymentRefusal>;
  /** Headers of the answer that was paid for, at the address `url`. */
  receipt(funded: Funded, url: string): Promise<Receipt>;
  /** Gives back what a channel has left; null for payments that ask for no such thing. */
  readonly refund: (() => Promise<Refunded | PaymentRefusal>) | null;
}

/**
 * What a payer is told, by what its call is charged; null: that is not known yet, the answer begins now. What was paid before is the same
 * in any case.
 */
export type Receipt = (charged: Nanousd | null) => Headers;

export interface Funded {
  readonly accountId: string;
  readonly amount: Nanousd;
  /** The transaction's hash. */
  readonly reference: string;
  readonly payer: string;
  readonly network: string;
  /** Of what pays one call by the use; null: what was paid is the account's. */
  readonly tab: Tab | null;
}

/** What one call may use of a payer's promise. It is charged what it cost. */
export interface Tab {
  /** The most that the call may hold. */
  readonly most: Nanousd;
  /** Headers that tell the payer what it is charged, with what the host signed. */
  receipt(charged: Nanousd | null, signed?: Signed): Headers;
  /** The call is over. Resolves when that is noted; only the first time counts. */
  close(charged: Nanousd): Promise<void>;
}

export interface Refunded {
  readonly accountId: string;
  readonly amount: Nanousd;
  readonly transaction: string;
  readonly headers: Headers;
}

export interface PaymentRefusal {
  readonly code: /** It is no good and moved nothing: pay anew. */
    | 'invalid'
    /** Its money is in the account, and its call was served. */
    | 'used'
    /** A copy of it is being settled now. */
    | 'in_progress'
    /** It was sent and nobody knows yet whether it arrived: ask again with the same payment, never with another. */
    | 'unknown'
    /** Nothing was sent: this way to pay is away or full. */
    | 'unavailable'
    /** Another call is being paid by the same promise: ask again when that is over. */
    | 'busy';
  readonly reason: string;
  readonly fault?: Fault;
}

/** What cannot be read as a payment; its message is for the caller. */
export class BadPayment extends Error {
  override readonly name = 'BadPayment';
}

/** Why a sign-in is refused; for the caller. */
export class BadSignIn extends Error {
  override readonly name = 'BadSignIn';
}
