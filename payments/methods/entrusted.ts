/**
 * Deposits where no key of ours may be, as on Cloudflare Workers: a payment is reserved and looked at here, sent and credited by a gateway
 * that has keys, and waited for by its row in the database that they share.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { openEntrustedChannels } from '../channels/entrusted.ts';
import { openCredit } from '../upto/open.ts';
import { due } from '../upto/rows.ts';
import { longerMs } from './arrival.ts';
import type { Authorization, Hex } from './authorization.ts';
import { Crowd } from './crowd.ts';
import { beginPayment, newPayment, outcomeOf, type StepsOptions, tooMany, unseen } from './deposit-steps.ts';
import { Evm } from './evm.ts';
import type { Funded, PaymentRefusal } from './method.ts';
import type { Sign } from './offer-receipt.ts';
import type { Payments, PaymentsOptions } from './open.ts';
import * as rows from './payment-rows.ts';
import { signOf, TIMEOUT_SECONDS, termsOf, waysToPay } from './ways.ts';

interface EntrustedOptions extends StepsOptions {
  /** How long a request waits for its money to arrive. */
  readonly waitMs: number;
  /** So many are on their way at once in all, and for one payer. */
  readonly atOnce: number;
  readonly atOncePerPayer: number;
}

const FIRST_PAUSE_MS = 8;

/** Opens what was configured, without any key: others, on the same database, settle what is paid here. */
export function openEntrustedPayments(options: PaymentsOptions): Payments {
  const { network, rpcUrls, payTo } = options;
  if (payTo === null) throw new Error('where no key is, an address must be configured that payments go to');
  const evm = new Evm(network, rpcUrls, options.depositConfirmations);
  const deposits = new EntrustedDeposits({ ...options, evm });
  const common = { ...options, evm, payTo, sign: signOf(options) };
  const [channels, credit] = [channelsOf(common), creditOf(common)];
  const byUse = [channels?.scheme, credit?.scheme].filter((scheme) => scheme !== undefined);
  const ways = waysToPay(common, termsOf(options, payTo), evm, deposits, byUse);
  const close = async () => {
    await Promise.all([channels?.close(), credit?.close()]);
  };
  return { ...ways, sender: null, payouts: null, claims: null, collections: null, channels, credit, close };
}

type Common = PaymentsOptions & { readonly evm: Evm; readonly payTo: Hex; readonly sign: Sign | null };

function channelsOf(options: Common) {
  const { channels, elsewhere } = options;
  if (channels === null || elsewhere.authorizer === null) return null;
  const { leastDeposit: leastDepositNanousd } = channels;
  const { authorizer } = elsewhere;
  return openEntrustedChannels({ ...options, authorizer, leastDepositNanousd, timeoutSeconds: TIMEOUT_SECONDS });
}

/** What calls were charged is moved by those who hear of it in the database. */
function creditOf(options: Common) {
  const { upto, elsewhere, sql } = options;
  if (upto === null || elsewhere.mover === null) return null;
  const hurry = async (payerId: string) => (await due(sql, payerId)).length;
  return openCredit({ ...options, cap: upto.cap, mover: elsewhere.mover, crowd: new Crowd(options), hurry });
}

export class EntrustedDeposits {
  readonly #options: EntrustedOptions;

  constructor(options: EntrustedOptions) {
    this.#options = options;
  }

  /** As `Deposits` does. */
  async fund(method: string, authorization: Authorization, accountId: string | null): Promise<Funded | PaymentRefusal> {
    const { sql, evm } = this.#options;
    const payment = newPayment(evm, method, authorization, accountId);
    if (!(await this.#admits(payment.payer))) return tooMany;
    const begun = await beginPayment(this.#options, payment, { entrusted: true });
    if (begun === null) return outcomeOf(sql, await rows.findPayment(sql, payment.id));
    return 'code' in begun ? begun : this.#settled(payment.id);
  }

  /** Waits until a gateway with keys has settled it. One that nobody settles in time stays entrusted, and is asked for again. */
  async #settled(id: string): Promise<Funded | PaymentRefusal> {
    const { sql, waitMs } = this.#options;
    const startMs = performance.now();
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = longerMs(pauseMs)) {
      await sleep(pauseMs);
      const row = await rows.findPayment(sql, id);
      if (row?.state !== 'settling') return outcomeOf(sql, row);
      if (performance.now() - startMs > waitMs) return unseen;
    }
  }

  /** Nothing is known here of what others admitted: the rows are. */
  async #admits(payer: string): Promise<boolean> {
    const { own, all } = await rows.onTheWay(this.#options.sql, payer);
    return own < this.#options.atOncePerPayer && all < this.#options.atOnce;
  }
}
