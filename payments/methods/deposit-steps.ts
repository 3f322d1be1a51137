/** The first steps of a deposit, the same wherever it is settled: take its place, ask the chain whether it is good, let it begin. */
import type { Sql } from '../../db/connect.ts';
import { nanousdOf } from '../units.ts';
import { type Authorization, paymentId, walletId } from './authorization.ts';
import type { Evm } from './evm.ts';
import type { Funded, PaymentRefusal } from './method.ts';
import * as rows from './payment-rows.ts';

export interface DepositsLog {
  warn(fields: object, message: string): void;
}

export interface StepsOptions {
  readonly sql: Sql;
  readonly evm: Evm;
  readonly log: DepositsLog;
}

/** A payment as it is to be stored. */
export function newPayment(
  { network: { id: network, usdc } }: Evm,
  method: string,
  authorization: Authorization,
  accountId: string | null,
): rows.NewPayment {
  return {
    id: paymentId(network, usdc.address, authorization),
    method,
    network,
    asset: usdc.address,
    payer: walletId(network, authorization.from),
    authorization,
    nanousd: nanousdOf(authorization.value),
    accountId,
  };
}

/**
 * Reserved, looked at, settling: from here on it may be on the chain. Answers the chain's head before that, null when the payment was
 * here before, or why it may not go on. `entrusted`: a gateway with keys is to send it.
 */
export async function beginPayment(
  { sql, evm, log }: StepsOptions,
  payment: rows.NewPayment,
  { entrusted }: { entrusted: boolean },
): Promise<{ readonly head: bigint } | PaymentRefusal | null> {
  const { id, authorization } = payment;
  if (!(await rows.reserve(sql, payment))) return null;
  const looked = await look(evm, log, authorization);
  if ('code' in looked) {
    await rows.fail(sql, id, looked.reason);
    return looked;
  }
  if (await rows.startSettling(sql, id, looked.head, { entrusted })) return looked;
  await rows.fail(sql, id, 'this authorization is settled under another signature');
  return { code: 'invalid', reason: 'this authorization was used already' };
}

/** Before anything is sent: is the chain there, and would it move the money? */
async function look(
  evm: Evm,
  log: DepositsLog,
  authorization: Authorization,
): Promise<{ head: bigint } | PaymentRefusal> {
  try {
    await evm.check();
    const [head, refusal] = await Promise.all([evm.head(), evm.refusalOf(authorization)]);
    return refusal === null ? { head } : { code: 'invalid', reason: refusal };
  } catch (error) {
    log.warn({ err: error }, 'the chain does not answer: no payments for now');
    return chainAway;
  }
}

/** What a payment says to one who asks for it again, or waits for it, by its stored state. Tells one caller that it is funded. */
export async function outcomeOf(sql: Sql, row: rows.PaymentRow | undefined): Promise<Funded | PaymentRefusal> {
  switch (row?.state) {
    case 'settled':
      if (await rows.claim(sql, row.id)) return fundedBy(row);
      return { code: 'used', reason: 'this payment was used: its change is in the account of its wallet' };
    case 'failed':
      return { code: 'invalid', reason: row.reason ?? 'this payment failed' };
    case 'unknown':
      return row.reason === FAILED_ON_CHAIN ? { code: 'invalid', reason: FAILED_ON_CHAIN } : unseen;
    default:
      return inProgress;
  }
}

/** What a settled payment brought. */
export function fundedBy({ id, accountId, nanousd, transaction, payer, network }: rows.PaymentRow): Funded {
  if (accountId === null || transaction === null) throw new Error(`payment ${id} is not settled`);
  return { accountId, amount: nanousd, reference: transaction, payer, network, tab: null };
}

/** The one reason for which a payment that was sent may be made anew. */
export const FAILED_ON_CHAIN = 'the transfer failed on the chain';

export const unseen: PaymentRefusal = {
  code: 'unknown',
  reason: 'this payment was sent and is not seen yet: ask again with the same one',
};

export const inProgress: PaymentRefusal = {
  code: 'in_progress',
  reason: 'this payment is being settled: wait for its answer',
};

export const chainAway = unavailable('the chain does not answer: ask again');

export const tooMany = unavailable('too many payments are being settled: ask again');

export function unavailable(reason: string): PaymentRefusal {
  return { code: 'unavailable', reason };
}
