import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Sql } from '../db/connect.ts';
import { testDatabase } from '../db/testing.ts';
import { balances, deposit } from './ledger.ts';
import { refundCall } from './refunds.ts';
import { type Period, type StatementLine, settledUntil, statementLines } from './statements.ts';
import { closing, fundedAgent, held, testInstance } from './testing.ts';

async function read(sql: Sql, period: Period): Promise<StatementLine[]> {
  const lines: StatementLine[] = [];
  for await (const some of statementLines(sql, period)) lines.push(...some);
  return lines;
}

const everything = async (sql: Sql, accountId: string): Promise<Period> => ({
  accountId,
  from: '1970-01-01T00:00:00.000Z',
  to: await caughtUp(sql),
});

/** A moment after all that was posted so far, and after which nothing more will be posted before it. */
async function caughtUp(sql: Sql): Promise<string> {
  await sql`select pg_sleep(0.002)`;
  const nowMs = Date.now();
  for (;;) {
    const until = await settledUntil(sql);
    if (Date.parse(until) >= nowMs) return until;
  }
}

test('opening and lines lead to closing, and a period cut anywhere is the same lines in two statements', async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const instance = await testInstance(sql, null);
  const steps = fc.array(fc.constantFrom('deposit', 'call', 'refund', 'free'), { minLength: 1, maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(steps, fc.nat(), async (history, cut) => {
      const accountId = await fundedAgent(sql, 10_000n);
      const times: string[] = ['1970-01-01T00:00:00.000Z'];
      let callId: string | null = null;
      for (const [n, step] of history.entries()) {
        if (step === 'deposit') await deposit(sql, { accountId, amount: 7n, reference: `${n}` });
        else if (step !== 'refund') {
          const hold = await held(instance, accountId, 100n);
          await hold.capture(closing(step === 'free' ? 0 : 60));
          if (step === 'call') callId = hold.callId;
        } else if (callId !== null) {
          await refundCall(sql, { callId, amount: 3n, reason: 'slow', reference: `${n}` });
        }
        times.push(await caughtUp(sql));
      }
      const period = await everything(sql, accountId);
      const whole = await read(sql, period);
      const { prepaid, escrow } = await balances(sql, accountId);
      expect(whole.at(-1)).toMatchObject({ kind: 'closing', balance: prepaid + escrow });
      expect(whole.reduce((sum, { amount }) => sum + amount, 0n)).toBe(prepaid + escrow);
      const middle = times[cut % times.length] ?? period.to;
      const before = await read(sql, { ...period, to: middle });
      const after = await read(sql, { ...period, from: middle });
      expect([...before.slice(1, -1), ...after.slice(1, -1)]).toEqual(whole.slice(1, -1));
      expect(after[0]?.balance).toBe(before.at(-1)?.balance);
    }),
    { numRuns: 15 },
  );
  await instance.close();
});

test('every line tells what it is for', async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const instance = await testInstance(sql, null);
  const accountId = await fundedAgent(sql, 1_000n);
  const hold = await held(instance, accountId, 100n);
  await hold.capture(closing(60));
  await refundCall(sql, { callId: hold.callId, amount: 20n, reason: 'slow', reference: 'ticket' });
  const call = hold.callId;
  expect(await read(sql, await everything(sql, accountId))).toMatchObject([
    { kind: 'opening', amount: 0n, balance: 0n },
    { kind: 'deposit', amount: 1_000n, balance: 1_000n, reference: 'first', call: null },
    { kind: 'charge', amount: -60n, balance: 940n, call, model: 'test-model', promptTokens: 7, completionTokens: 60 },
    { kind: 'refund', amount: 20n, balance: 960n, call, reference: 'ticket', reason: 'slow' },
    { kind: 'closing', amount: 0n, balance: 960n },
  ]);
  await instance.close();
});

test('a posting that is under way is in no statement yet, and will be in the next one', async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const accountId = await fundedAgent(sql, 1_000n);
  const begun = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  const late = sql.begin(async (tx) => {
    const [{ id } = { id: '' }] =
      await tx`insert into txn (id, kind) values (gen_random_uuid(), 'deposit') returning id`;
    begun.resolve();
    await goOn.promise;
    await tx`
      with posted as (insert into entry (txn_id, account_id, amount) values (${id}, 'world', -5), (${id}, ${accountId}, 5))
      update account set balance = balance + case id when 'world' then -5 else 5 end where id in ('world', ${accountId})`;
  });
  await begun.promise;
  await sql`select pg_sleep(0.002)`;
  const early = { accountId, from: '1970-01-01T00:00:00.000Z', to: await settledUntil(sql) };
  const first = await read(sql, early);
  goOn.resolve();
  await late;
  expect(await read(sql, early)).toEqual(first);
  const second = await read(sql, { accountId, from: early.to, to: await caughtUp(sql) });
  expect(second.map(({ kind, amount }) => [kind, amount])).toEqual([
    ['opening', 0n],
    ['deposit', 5n],
    ['closing', 0n],
  ]);
});

test('a long statement comes in parts, and whoever stops reading gives the connection back', async () => {
  await using database = await testDatabase({ max: 2 });
  const { sql } = database;
  const instance = await testInstance(sql, null);
  const accountId = await fundedAgent(sql, 10_000n);
  for (let n = 0; n < 1_200; n++) void (await held(instance, accountId, 1n)).capture(closing(1));
  await instance.settler.drain();
  const period = await everything(sql, accountId);
  for (let times = 0; times < 4; times++) {
    for await (const lines of statementLines(sql, period)) if (lines.length > 1) break;
  }
  let parts = 0;
  let longest = 0;
  for await (const lines of statementLines(sql, period)) {
    parts++;
    longest = lines.length > longest ? lines.length : longest;
  }
  expect(parts).toBeGreaterThan(4);
  expect(longest).toBeLessThanOrEqual(500);
  await instance.close();
});

test('books that do not agree make no statement', async () => {
  const database = await testDatabase();
  const { sql } = database;
  const instance = await testInstance(sql, null);
  const accountId = await fundedAgent(sql, 1_000n);
  await (await held(instance, accountId, 100n)).capture(closing(60));
  await instance.settler.drain();
  await sql`update call set charged_nanousd = 61`;
  await expect(read(sql, await everything(sql, accountId))).rejects.toThrow(/do not agree/);
  await sql`update call set charged_nanousd = 60`;
  await instance.close();
  await database[Symbol.asyncDispose]();
});
