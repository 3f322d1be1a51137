/** Paying without an account: who a caller with a wallet is, what a 402 offers, and what a payment opens. Calls touch only the ledger. */
import {
  BadPayment,
  type Fault,
  type HeaderOf,
  type Payment,
  type PaymentRefusal,
  type Receipt,
  type Tab,
} from '../payments/methods/method.ts';
import type { Nanousd } from '../payments/money.ts';
import type { Principal } from './auth.ts';
import { type ApiError, apiError, type ErrorDetails } from './errors.ts';
import type { Exchange } from './exchange.ts';
import { offerOf, PRIVATE, type Purchase } from './offer.ts';
import type { Gateway } from './platform.ts';
import type { Asked } from './replays.ts';
import type { Wallets } from './wallets.ts';

/** Who sent a request: a key's or a wallet's owner, a payer, both, or nobody yet. */
export interface Caller {
  /** Copies of one request have it in common. */
  readonly id: string;
  readonly principal: Principal | null;
  readonly payment: Payment | null;
  /** Why what looked like a payment is none. */
  readonly mistake: string | null;
}

/** A caller whose call may begin. */
export interface Fare {
  readonly principal: Principal;
  /** Of the answer, whatever it is: what was paid, into which account, and its key. */
  readonly headers: Readonly<Record<string, string>>;
  /** Of a payment by the use: whoever has a fare closes it when the call is over. */
  readonly tab: Tab | null;
  /** Of an answer that a tab pays: what its payer is told. */
  readonly receipt: Receipt;
  /** What a refusal for want of `missing` adds: the way to pay it. */
  offer(missing: Nanousd): ErrorDetails;
}

const RETRY_AFTER_MS = 1_000;
const nothing: Readonly<Record<string, string>> = {};
const free = { headers: nothing, tab: null, receipt: () => nothing };

/**
 * Who sends this request. Throws as `authenticate` does; a caller without a key is somebody only where wallets can pay. A promise only
 * when a database or a chain must be asked.
 */
export function identify(gateway: Gateway, exchange: Pick<Exchange, 'header'>): Caller | Promise<Caller> {
  const authorization = exchange.header('authorization');
  const { payments } = gateway;
  if (payments === null || (authorization?.startsWith('Bearer ') && !carriesPayment(exchange))) {
    const principal = gateway.keyring.authenticate(authorization, 'agent');
    return principal instanceof Promise ? principal.then(keyed) : keyed(principal);
  }
  return identifyPayer(gateway, payments, (name) => exchange.header(name));
}

/** Lets a caller with a key pass, settles the payment of one who brings any, and tells everybody else what to pay. */
export function pay(gateway: Gateway, caller: Caller, purchase: () => Purchase): Fare | Promise<Fare> {
  const { principal, payment, mistake } = caller;
  if (principal === null || payment !== null || mistake !== null) return settle(gateway, caller, purchase());
  return { ...free, principal, offer: (missing) => offerOf(gateway, caller, purchase(), missing) };
}

async function settle(gateway: Gateway, caller: Caller, purchase: Purchase): Promise<Fare> {
  const { payments } = gateway;
  const { principal, payment, mistake } = caller;
  if (mistake !== null) throw invalid(gateway, caller, purchase, mistake);
  if (payment === null || payments === null) {
    throw apiError(
      'payment_required',
      `This costs up to ${purchase.amount} nano-USD: pay with a wallet (x402 or MPP), what is left is yours; or send a key.`,
      offerOf(gateway, caller, purchase, purchase.amount),
    );
  }
  if (payment.digest !== null && payment.digest !== payments.digest(purchase.body))
    throw invalid(gateway, caller, purchase, 'This payment is for another body.');
  const funded = await payment.fund(principal?.ownerId ?? null, purchase.isCall ? purchase.amount : null);
  if ('code' in funded) throw refused(gateway, caller, purchase, funded);
  const { tab, accountId } = funded;
  try {
    const [own, receipt] = await Promise.all([
      principal === null ? payments.keyOf(accountId) : { principal, key: null },
      payment.receipt(funded, purchase.url),
    ]);
    const paid = { ...PRIVATE, 'x-faregate-account': accountId };
    const offer = (missing: Nanousd) => offerOf(gateway, caller, purchase, missing);
    // What a tab brought in is for its one call: nobody else is to spend it.
    if (tab !== null) return { principal: own.principal, headers: paid, tab, receipt, offer };
    const deposited = { 'x-faregate-deposited-nanousd': String(funded.amount) };
    const key = own.key === null ? {} : { 'x-faregate-key': own.key };
    const headers = { ...paid, ...receipt(null), ...deposited, ...key };
    return { ...free, principal: own.principal, headers, offer };
  } catch (error) {
    await tab?.close(0n);
    throw error;
  }
}

/** What tells a caller's copies of one request from its other requests, and from those of others. */
export function askedBy({ id, payment }: Caller, path: string, body: Uint8Array): Asked {
  return { keyId: id, path, body, paymentId: payment?.id, name: payment?.name ?? undefined };
}

function keyed(principal: Principal): Caller {
  return { id: principal.keyId, principal, payment: null, mistake: null };
}

function carriesPayment(exchange: Pick<Exchange, 'header'>): boolean {
  return (
    exchange.header('payment-signature') !== undefined ||
    exchange.header('payment-authorization') !== undefined ||
    exchange.header('x-payment') !== undefined
  );
}

async function identifyPayer(gateway: Gateway, payments: Wallets, header: HeaderOf): Promise<Caller> {
  const { payment, mistake } = readPayment(payments, header);
  const authorization = header('authorization');
  if (authorization !== undefined && !/^payment\s/i.test(authorization)) {
    const principal = await gateway.keyring.authenticate(authorization, 'agent');
    return { id: principal.keyId, principal, payment, mistake };
  }
  // A request that has a name belongs to its payer, any other to its payment.
  const id = payment === null ? '' : payment.name === null ? payment.id : payment.payer;
  if (payment !== null || mistake !== null) return { id, principal: null, payment, mistake };
  const principal = await payments.signedIn(header);
  return principal === null ? { id: '', principal, payment, mistake } : keyed(principal);
}

function readPayment(payments: Wallets, header: HeaderOf): Pick<Caller, 'payment' | 'mistake'> {
  try {
    const found = payments.methods.map((method) => method.read(header)).filter((payment) => payment !== null);
    if (found.length > 1) return { payment: null, mistake: 'Send one payment, not several.' };
    return { payment: found[0] ?? null, mistake: null };
  } catch (error) {
    if (error instanceof BadPayment) return { payment: null, mistake: error.message };
    throw error;
  }
}

function invalid(
  gateway: Gateway,
  caller: Caller,
  purchase: Purchase,
  reason: string,
  { fault = null, code = 'payment_invalid' }: { fault?: Fault | null; code?: 'payment_invalid' | 'channel_busy' } = {},
): ApiError {
  const details = offerOf(gateway, caller, purchase, purchase.amount, reason, fault);
  return apiError(code, `${reason} Nothing was moved.`, details);
}

export function refused(gateway: Gateway, caller: Caller, purchase: Purchase, refusal: PaymentRefusal): ApiError {
  const details = { headers: PRIVATE, retryAfterMs: RETRY_AFTER_MS };
  const { fault = null } = refusal;
  switch (refusal.code) {
    case 'invalid':
      return invalid(gateway, caller, purchase, `The payment is no good: ${refusal.reason}.`, { fault });
    case 'busy':
      return invalid(gateway, caller, purchase, `Not now: ${refusal.reason}.`, { fault, code: 'channel_busy' });
    case 'used':
      return apiError('payment_used', `Nothing was moved: ${refusal.reason}.`, { headers: PRIVATE });
    case 'in_progress':
      return apiError('request_in_progress', `Nothing was moved: ${refusal.reason}.`, details);
    case 'unknown':
      return apiError('payment_pending', `Do not pay again: ${refusal.reason}.`, details);
    case 'unavailable':
      return apiError('payments_unavailable', `Nothing was moved: ${refusal.reason}.`, details);
  }
}
