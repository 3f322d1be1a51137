/** What a 402 says to wallets: the same amount in the headers of every protocol, and how it came about in the body. */
import type { Fault } from '../payments/methods/method.ts';
import type { Nanousd } from '../payments/money.ts';
import type { ErrorDetails } from './errors.ts';
import type { Caller } from './paywall.ts';
import type { Gateway } from './platform.ts';

/** What a request would buy. */
export interface Purchase {
  readonly amount: Nanousd;
  /** Whether it is one call, which can also be paid by what it used. */
  readonly isCall: boolean;
  /** Whether less money would buy a shorter answer. */
  readonly shortens: boolean;
  readonly url: string;
  readonly description: string;
  readonly body: Uint8Array;
  /** How the amount came about, for people and agents to read. */
  readonly breakdown: Readonly<Record<string, unknown>>;
}

/** Stock x402 clients pay no more than a dollar at once, unless their owners allow it. */
const STOCK_CLIENTS_MOST = 1_000_000_000n;
const TIERS: readonly Nanousd[] = [100_000_000n, 1_000_000_000n, 5_000_000_000n, 20_000_000_000n];

/** Balances and new keys are in these answers: no cache may keep them. */
export const PRIVATE = { 'cache-control': 'no-store, private, no-transform' };

/** The headers and members of a refusal for want of `missing`; `error` and `fault`: why what was paid did not do. */
export function offerOf(
  gateway: Gateway,
  { principal }: Pick<Caller, 'principal'>,
  purchase: Purchase,
  missing: Nanousd,
  error: string | null = null,
  fault: Fault | null = null,
): ErrorDetails {
  const { payments } = gateway;
  const terms = gateway.platform.config.payments;
  if (payments === null || terms === null) return {};
  const enough = missing > terms.leastNanousd ? missing : terms.leastNanousd;
  const asked = (whole: Nanousd) => (purchase.shortens && whole > STOCK_CLIENTS_MOST ? STOCK_CLIENTS_MOST : whole);
  const amount = asked(enough);
  const { url, description, body, breakdown } = purchase;
  const keyed = principal !== null;
  // From an account of its own a channel pays whole calls, and nothing for an account that has a key.
  const cost = purchase.isCall && !keyed ? asked(purchase.amount) : null;
  const charge = { amount, cost, url, description, error, fault, digest: payments.digest(body), keyed };
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
