/** Exactness (R7): money for N calls, many callers, several instances; N calls succeed, no more and no fewer. */
import { v7 as uuidv7 } from 'uuid';
import type { Sql } from '../../db/connect.ts';
import { type LedgerInstance, openInstance } from '../../payments/instance.ts';
import { balances, createAgent, deposit } from '../../payments/ledger.ts';
import { pickOne, type Random, randomInteger } from '../../workers/simulator/random.ts';
import { CALL_NANOUSD, CLOSING } from './plain-call.ts';

export interface Exactness {
  readonly rounds: number;
  readonly calls: number;
  /** Calls that succeeded beyond the money, and calls that the money would have paid. */
  readonly falseAccepts: number;
  readonly falseRejects: number;
  /** Rounds after which a whole call's money or more was left. */
  readonly leftOver: number;
  /** Errors that the ledger itself reported, first of all the statements that a constraint stopped. */
  readonly errors: readonly string[];
}

const CALLERS = [64, 128, 256, 1_000] as const;

export async function exactness(sql: Sql, random: Random, rounds: number): Promise<Exactness> {
  const errors: string[] = [];
  const total = { rounds, calls: 0, falseAccepts: 0, falseRejects: 0, leftOver: 0, errors };
  for (let round = 0; round < rounds; round++) {
    const paid = randomInteger(random, 1, 400);
    const { id } = await createAgent(sql, { name: `exact ${round}` });
    const amount = BigInt(paid) * CALL_NANOUSD + BigInt(randomInteger(random, 0, 999));
    await deposit(sql, { accountId: id, amount, reference: 'exact' });
    const succeeded = await spendAll(sql, id, errors, {
      instances: randomInteger(random, 1, 8),
      callers: pickOne(random, CALLERS),
    });
    total.calls += succeeded;
    total.falseAccepts += Math.max(0, succeeded - paid);
    total.falseRejects += Math.max(0, paid - succeeded);
    const { prepaid, escrow } = await balances(sql, id);
    if (prepaid + escrow >= CALL_NANOUSD) total.leftOver += 1;
  }
  return total;
}

/** Each caller calls until it is refused; answers how many calls there were. */
async function spendAll(
  sql: Sql,
  accountId: string,
  errors: string[],
  size: { instances: number; callers: number },
): Promise<number> {
  const instances = await Promise.all(Array.from({ length: size.instances }, () => openBare(sql, errors)));
  const spent = await Promise.all(
    Array.from({ length: size.callers }, async (_, index) => {
      const instance = instances[index % instances.length];
      let calls = 0;
      while (instance !== undefined && (await callOnce(instance, accountId))) calls += 1;
      return calls;
    }),
  );
  for (const instance of instances) await instance.close();
  return spent.reduce((sum, calls) => sum + calls, 0);
}

async function callOnce({ holds }: LedgerInstance, accountId: string): Promise<boolean> {
  const hold = await holds.hold({ callId: uuidv7(), accountId, keyId: 'exact', amount: CALL_NANOUSD });
  if ('code' in hold) return false;
  hold.open(CLOSING);
  // Others get their turn while this one holds.
  await new Promise((resolve) => setImmediate(resolve));
  await hold.capture(CLOSING);
  return true;
}

/** An instance without a disk: it acknowledges when the database has committed. */
function openBare(sql: Sql, errors: string[]): Promise<LedgerInstance> {
  const note = (fields: object, message: string) => {
    errors.push('err' in fields && fields.err instanceof Error ? fields.err.message : message);
  };
  return openInstance({
    sql,
    directory: null,
    ack: 'database',
    now: () => performance.now(),
    log: { warn: note, error: note },
  });
}
