/**
 * What channels need keys for, where there are none, as on Cloudflare Workers: a deposit is sent, and a refund signed, by a gateway that has
 * them. It reads the client's own payment again and believes nothing else; its answer is waited for in the database that both share.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { Sql } from '../../db/connect.ts';
import { longerMs } from '../methods/arrival.ts';
import { type Hex, wordField } from '../methods/authorization.ts';
import { tooMany, unavailable } from '../methods/deposit-steps.ts';
import { BadPayment, type PaymentRefusal, type Refunded } from '../methods/method.ts';
import { type Credential, credential } from '../methods/x402.ts';
import { every } from '../rounds.ts';
import type { Brought, ChannelDeposits } from './deposits.ts';
import * as rows from './errand-rows.ts';
import type { Refunds } from './refunds.ts';
import type { ChannelPayment, ChannelsLog } from './view.ts';

export interface AskedOptions {
  readonly sql: Sql;
  /** Whose key is needed. */
  readonly authorizer: Hex;
  readonly waitMs: number;
  /** So many may wait at once. */
  readonly atOnce: number;
}

export interface ErrandsOptions {
  readonly sql: Sql;
  readonly authorizer: Hex;
  readonly log: ChannelsLog;
  readonly deposits: Pick<ChannelDeposits, 'bring'>;
  readonly refunds: Pick<Refunds, 'refund'>;
  /** Throws as a scheme's `read` does. */
  read(sent: Credential): { payment: ChannelPayment; refund: { amount: bigint | null } | null };
}

/** So long a gateway with keys may take to notice: longer, and there is none. */
const NOTICED_MS = 5_000;
const FIRST_PAUSE_MS = 8;
const ROUND_EVERY_MS = 1_000;
const FORGET_EVERY_MS = 600_000;
const AT_ONCE = 32;

const CODES = [
  'invalid',
  'used',
  'in_progress',
  'unknown',
  'unavailable',
  'busy',
] as const satisfies readonly PaymentRefusal['code'][];

const details = z.record(z.string(), z.unknown());
const refusal = z.object({
  code: z.enum(CODES),
  reason: z.string(),
  fault: z.object({ code: z.string(), details: details.default({}) }).nullish(),
});
const brought = z.object({ transaction: wordField.nullable() });
const refunded = z.object({
  accountId: z.string(),
  amount: z.string().transform(BigInt),
  transaction: z.string(),
  headers: z.record(z.string(), z.string()),
});

/** Has deposits brought and refunds made by those with keys. */
export class AskedErrands implements Pick<ChannelDeposits, 'bring'>, Pick<Refunds, 'refund'> {
  readonly #options: AskedOptions;

  constructor(options: AskedOptions) {
    this.#options = options;
  }

  bring({ sent }: ChannelPayment): Promise<Brought> {
    return this.#ask(sent, brought);
  }

  refund({ sent }: ChannelPayment): Promise<Refunded | PaymentRefusal> {
    return this.#ask(sent, refunded);
  }

  async #ask<Answer>(sent: Credential, shape: z.ZodType<Answer>): Promise<Answer | PaymentRefusal> {
    const { sql, authorizer, waitMs, atOnce } = this.#options;
    const id = await rows.ask(sql, { authorizer, sent, most: atOnce });
    if (id === null) return tooMany;
    const startMs = performance.now();
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = longerMs(pauseMs)) {
      await sleep(pauseMs);
      const { answer, isTaken } = await rows.look(sql, id);
      if (answer !== null) return read(answer, shape);
      const waitedMs = performance.now() - startMs;
      if (!isTaken && waitedMs > NOTICED_MS && (await rows.withdraw(sql, id))) return nobody;
      if (waitedMs > waitMs) return unanswered;
    }
  }
}

/** Does what others ask, until the returned function is called. */
export function doErrands(options: ErrandsOptions): () => Promise<void> {
  const { sql, authorizer, log } = options;
  const failed = (error: unknown) => log.warn({ err: error }, 'errands of channels could not be done');
  const work = async () => {
    const taken = await rows.take(sql, authorizer, AT_ONCE);
    await Promise.all(taken.map((errand) => doOne(options, errand)));
  };
  const now = () => void work().catch(failed);
  const listening = sql.listen(rows.ERRANDS, now, now);
  listening.catch(failed);
  // A notification can be lost together with its connection; and one round may wait long, while others come.
  const ends = [
    every(ROUND_EVERY_MS, async () => now(), failed),
    every(FORGET_EVERY_MS, () => rows.forgetOld(sql), failed),
  ];
  return async () => {
    for (const end of ends) end();
    await listening.then(({ unlisten }) => unlisten()).catch(() => {});
  };
}

async function doOne(options: ErrandsOptions, { id, sent }: rows.Errand): Promise<void> {
  const { sql, log } = options;
  try {
    await rows.answer(sql, id, await outcomeOf(options, sent));
  } catch (error) {
    log.warn({ err: error, errand: id }, 'an errand was not done');
  }
}

async function outcomeOf({ deposits, refunds, read }: ErrandsOptions, sent: unknown): Promise<object> {
  try {
    const { payment, refund } = read(credential.parse(sent));
    if (refund !== null) {
      const outcome = await refunds.refund(payment, refund.amount);
      return 'code' in outcome ? outcome : { ...outcome, amount: String(outcome.amount) };
    }
    return payment.deposit === null ? notForUs('it has no deposit') : await deposits.bring(payment, payment.deposit);
  } catch (error) {
    if (error instanceof BadPayment || error instanceof z.ZodError) return notForUs(error.message);
    throw error;
  }
}

function read<Answer>(answer: unknown, shape: z.ZodType<Answer>): Answer | PaymentRefusal {
  const refused = refusal.safeParse(answer);
  if (!refused.success) return shape.parse(answer);
  const { code, reason, fault } = refused.data;
  return fault == null ? { code, reason } : { code, reason, fault };
}

/** Where a gateway without keys is configured otherwise than those with keys. */
function notForUs(reason: string): PaymentRefusal {
  return { code: 'invalid', reason: `the gateway that has the keys does not take it (${reason})` };
}

const nobody = unavailable('no gateway that has the keys is there: ask again');
const unanswered: PaymentRefusal = {
  code: 'unknown',
  reason: 'this was passed on and is not seen yet: ask again with the same one',
};
