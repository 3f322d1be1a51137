/** Payouts as a running gateway has them: what is booked is paid in the background, operators also by the clock. */
import type { Sql } from '../../db/connect.ts';
import type { Hex } from '../methods/authorization.ts';
import type { Evm } from '../methods/evm.ts';
import type { Sender } from '../methods/sender.ts';
import { signerOf } from '../methods/signer.ts';
import type { Nanousd } from '../money.ts';
import type { Treasury } from './booking.ts';
import { bookOperatorPayout, type PayoutPolicy, payableOperators } from './operators.ts';
import { Paymaster } from './paymaster.ts';

export interface PayoutTerms extends PayoutPolicy {
  /** Operators are paid once in each such stretch of time since 1970; null: when the host says so. */
  readonly everySeconds: number | null;
  readonly withdrawalMinimum: Nanousd;
}

export interface Payouts {
  readonly treasury: Treasury;
  readonly terms: PayoutTerms;
  /** Something was booked: it is sent now and not at the next look. */
  hurry(): void;
  close(): void;
}

interface PayoutOptions {
  readonly sql: Sql;
  readonly evm: Evm;
  readonly sender: Sender;
  readonly treasuryKey: Hex;
  readonly confirmations: bigint;
  readonly payouts: PayoutTerms;
  readonly log: { warn(fields: object, message: string): void };
}

const RETRY_MS = 60_000;
const LOOK_EVERY_MS = 10_000;
const LOOK_WHILE_PENDING_MS = 500;

/** Begins to pay. The chain need not be there yet. */
export function openPayouts(options: PayoutOptions): Payouts {
  const { sql, evm, payouts: terms, log } = options;
  const account = signerOf(options.treasuryKey);
  const { id: network, usdc } = evm.network;
  const treasury = { network, asset: usdc.address.toLowerCase(), address: account.address.toLowerCase() };
  const paymaster = new Paymaster({ ...options, treasury: account, retryMs: RETRY_MS });
  const payOperators = byTheClock(sql, treasury, terms);
  const rounds = repeatedly(async () => {
    await payOperators();
    return (await paymaster.round()) > 0 ? LOOK_WHILE_PENDING_MS : LOOK_EVERY_MS;
  }, log);
  return { treasury, terms, ...rounds };
}

/** Books the payouts of each stretch of time once, however many gateways do: their reference is its beginning. */
function byTheClock(sql: Sql, treasury: Treasury, terms: PayoutTerms): () => Promise<void> {
  const { everySeconds } = terms;
  let done: string | null = null;
  return async () => {
    if (everySeconds === null) return;
    const nowMs = Date.now();
    const begin = new Date(nowMs - (nowMs % (everySeconds * 1_000))).toISOString();
    if (begin === done) return;
    for (const operatorId of await payableOperators(sql)) {
      await bookOperatorPayout(sql, treasury, { operatorId, reference: `every ${everySeconds} s: ${begin}` }, terms);
    }
    done = begin;
  };
}

/** Does work again and again, one at a time; it answers how long to wait before the next. */
function repeatedly(work: () => Promise<number>, log: PayoutOptions['log']): Pick<Payouts, 'hurry' | 'close'> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let busy = false;
  let again = false;
  let closed = false;
  const plan = (waitMs: number) => {
    clearTimeout(timer);
    if (closed) return;
    timer = setTimeout(() => void run(), waitMs);
    timer.unref();
  };
  const run = async () => {
    busy = true;
    again = false;
    const waitMs = await work().catch((error: unknown) => {
      if (!closed) log.warn({ err: error }, 'payouts could not be looked after');
      return LOOK_EVERY_MS;
    });
    busy = false;
    plan(again ? 0 : waitMs);
  };
  plan(LOOK_EVERY_MS);
  return {
    hurry: () => {
      again = true;
      if (!busy) plan(0);
    },
    close: () => {
      closed = true;
      clearTimeout(timer);
    },
  };
}
