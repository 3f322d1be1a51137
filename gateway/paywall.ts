/** Paying without an account: what a 402 offers to wallets, and what a payment opens. Calls themselves touch only the ledger. */
import { hash } from 'node:crypto';
import {
  BadPayment,
  type Charge,
  type HeaderOf,
  type Payment,
  type PaymentRefusal,
} from '../payments/methods/method.ts';
import type { Payments } from '../payments/methods/open.ts';
import type { Nanousd } from '../payments/money.ts';
import type { Principal } from './auth.ts';
import { type ApiError, apiError, type ErrorDetails } from './errors.ts';
import type { Gateway, Platform } from './platform.ts';
import { walletKey } from './wallet-keys.ts';

/** Who sent a request: a key's owner, a payer, both, or nobody yet. */
export interface Caller {
  /** Copies of one request have it in common. */
  readonly id: string;
  readonly principal: Principal | null;
  readonly payment: Payment | null;
  /** Why what looked like a payment is none. */
  readonly mistake: string | null;
}

/** What a request would buy. */
export interface Purchase {
  readonly amount: Nanousd;
  /** Whether less money would buy a shorter answer. */
  readonly shortens: boolean;
  readonly url: string;
  readonly description: string;
  readonly body: Uint8Array;
  /** How the amount came about, for people and agents to read. */
  readonly breakdown: Readonly<Record<string, unknown>>;
}

/** A caller whose call may begin. */
export interface Fare {
  readonly principal: Principal;
  /** Of the answer, whatever it is: what was paid, into which account, and its key. */
  readonly headers: Readonly<Record<string, string>>;
  /** What a refusal for want of `missing` adds: the way to pay it. */
  offer(missing: Nanousd): ErrorDetails;
}

/** Stock x402 clients pay no more than a dollar at once, unless their owners allow it. */
const STOCK_CLIENTS_MOST = 1_000_000_000n;
const TIERS: readonly Nanousd[] = [100_000_000n, 1_000_000_000n, 5_000_000_000n, 20_000_000_000n];

const RETRY_AFTER_MS = 1_000;
/** Balances and new keys are in these answers: no cache may keep them. */
const PRIVATE = { 'cache-control': 'no-store, private' };
const nothing: Readonly<Record<string, string>> = {};

/** Opens the ways to pay that are configured. What they stand on is loaded only then. */
export async function openWallets(platform: Platform, secretKey: string): Promise<Payments | null> {
  const { config, database, log } = platform;
  if (config.payments === null) return null;
  const { openPayments } = await import('../payments/methods/open.ts');
  return openPayments({
    ...config.payments,
    sql: database.sql,
    log,
    secretKey,
    realm: new URL(config.gatewayUrl ?? 'http://faregate').host,
    waitMs: config.limits.paymentMs,
    atOnce: config.limits.paymentsAtOnce,
    atOncePerPayer: config.limits.paymentsPerPayer,
  });
}

/** Who sends this request. Throws as `authenticate` does; a caller without a key is somebody only where wallets can pay. */
export async function identify(gateway: Gateway, header: HeaderOf): Promise<Caller> {
  const authorization = header('authorization');
  if (gateway.payments === null) return keyed(await gateway.keyring.authenticate(authorization, 'agent'));
  const { payment, mistake } = readPayment(gateway.payments, header);
  if (authorization !== undefined && !/^payment\s/i.test(authorization)) {
    const { principal } = keyed(await gateway.keyring.authenticate(authorization, 'agent'));
    return { id: payment?.id ?? principal?.keyId ?? '', principal, payment, mistake };
  }
  return { id: payment?.id ?? 'nobody', principal: null, payment, mistake };
}

/** Lets a caller with a key pass, settles the payment of one who brings any, and tells everybody else what to pay. */
export async function pay(gateway: Gateway, caller: Caller, purchase: Purchase): Promise<Fare> {
  const { principal, payment, mistake } = caller;
  const offer = (missing: Nanousd) => offerOf(gateway, caller, purchase, missing, null);
  if (mistake !== null) throw invalid(gateway, caller, purchase, mistake);
  if (payment === null) {
    if (principal !== null) return { principal, headers: nothing, offer };
    throw apiError(
      'payment_required',
      `This call can cost up to ${purchase.amount} nano-USD: pay with a wallet (x402 or MPP), what is left is yours; or send a key.`,
      offer(purchase.amount),
    );
  }
  if (payment.digest !== null && payment.digest !== digestOf(purchase.body))
    throw invalid(gateway, caller, purchase, 'This payment is for another body.');
  const funded = await payment.fund(principal?.ownerId ?? null);
  if ('code' in funded) throw refused(gateway, caller, purchase, funded);
  const headers: Record<string, string> = {
    ...PRIVATE,
    ...payment.receipt(funded),
    'x-faregate-account': funded.accountId,
    'x-faregate-deposited-nanousd': String(funded.amount),
  };
  if (principal !== null) return { principal, headers, offer };
  const own = await walletKey(gateway, funded.accountId);
  if (own.key !== null) headers['x-faregate-key'] = own.key;
  return { principal: own.principal, headers, offer };
}

function keyed(principal: Principal): Caller {
  return { id: principal.keyId, principal, payment: null, mistake: null };
}

function readPayment(payments: Payments, header: HeaderOf): Pick<Caller, 'payment' | 'mistake'> {
  try {
    const found = payments.methods.map((method) => method.read(header)).filter((payment) => payment !== null);
    if (found.length > 1) return { payment: null, mistake: 'Send one payment, not several.' };
    return { payment: found[0] ?? null, mistake: null };
  } catch (error) {
    if (error instanceof BadPayment) return { payment: null, mistake: error.message };
    throw error;
  }
}

function invalid(gateway: Gateway, caller: Caller, purchase: Purchase, reason: string): ApiError {
  const details = offerOf(gateway, caller, purchase, purchase.amount, reason);
  return apiError('payment_invalid', `${reason} Nothing was moved.`, details);
}

function refused(gateway: Gateway, caller: Caller, purchase: Purchase, refusal: PaymentRefusal): ApiError {
  const details = { headers: PRIVATE, retryAfterMs: RETRY_AFTER_MS };
  switch (refusal.code) {
    case 'invalid':
      return invalid(gateway, caller, purchase, `The payment is no good: ${refusal.reason}.`);
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

/** The headers and members of a 402. */
function offerOf(
  gateway: Gateway,
  { principal }: Caller,
  purchase: Purchase,
  missing: Nanousd,
  error: string | null,
): ErrorDetails {
  const { payments } = gateway;
  const terms = gateway.platform.config.payments;
  if (payments === null || terms === null) return {};
  const enough = missing > terms.leastNanousd ? missing : terms.leastNanousd;
  const amount = purchase.shortens && enough > STOCK_CLIENTS_MOST ? STOCK_CLIENTS_MOST : enough;
  const { url, description, body, breakdown } = purchase;
  const charge: Charge = { amount, url, description, error, digest: digestOf(body), keyed: principal !== null };
  const offers = payments.methods.map((method) => method.offer(charge));
  const payment = {
    amount_nanousd: String(amount),
    quote: breakdown,
    network: terms.network.id,
    asset: terms.network.usdc.address,
    change: 'stays in the account of your wallet',
    topups: { path: '/v1/topups', nanousd: TIERS.map(String) },
  };
  return { headers: Object.assign({}, PRIVATE, ...offers), more: { payment } };
}

function digestOf(body: Uint8Array): string {
  return `sha-256=${hash('sha256', body, 'base64')}`;
}
