import { expect, test } from 'vitest';
import { testDatabase } from '../db/testing.ts';
import { balances, createOperator, earnings } from './ledger.ts';
import { closing, fundedAgent, held, request, testDirectory, testInstance } from './testing.ts';

test('of 100 concurrent holds on money for exactly 10, exactly 10 are granted, and each refusal says that nothing is left', async () => {
  await using database = await testDatabase();
  await using directory = await testDirectory();
  const accountId = await fundedAgent(database.sql, 1_009n);
  const instance = await testInstance(database.sql, directory.path);
  const outcomes = await Promise.all(Array.from({ length: 100 }, () => instance.holds.hold(request(accountId, 100n))));
  const refused = outcomes.filter((outcome) => 'code' in outcome);
  expect(refused).toHaveLength(90);
  expect(
    new Set(refused.map((refusal) => JSON.stringify(refusal, (_, v) => (typeof v === 'bigint' ? `${v}` : v)))),
  ).toEqual(new Set(['{"code":"insufficient_balance","available":"9","budget":null}']));
  expect(instance.holds.heldBy(accountId)).toBe(1_000n);
  await instance.close();
});

test('a hold that the purse covers is granted in the same turn, and what a capture leaves can be held again', async () => {
  await using database = await testDatabase();
  await using directory = await testDirectory();
  const accountId = await fundedAgent(database.sql, 100n);
  const instance = await testInstance(database.sql, directory.path);
  const first = await held(instance, accountId, 100n);
  await first.capture(closing(30));
  const second = instance.holds.hold(request(accountId, 70n));
  expect(second).not.toBeInstanceOf(Promise);
  expect(await instance.holds.hold(request(accountId, 1n))).toEqual({
    code: 'insufficient_balance',
    available: 0n,
    budget: null,
  });
  await instance.close();
  expect(await balances(database.sql, accountId)).toEqual({ prepaid: 70n, escrow: 0n });
});

test('a charge is what was used, and never more than the hold', async () => {
  await using database = await testDatabase();
  await using directory = await testDirectory();
  const accountId = await fundedAgent(database.sql, 1_000n);
  const instance = await testInstance(database.sql, directory.path);
  const exact = await held(instance, accountId, 100n);
  await exact.capture(closing(40));
  const capped = await held(instance, accountId, 100n);
  await capped.capture(closing(5_000));
  expect([exact.charged, capped.charged]).toEqual([40n, 100n]);
  await instance.close();
  expect(await balances(database.sql, accountId)).toEqual({ prepaid: 860n, escrow: 0n });
});

test('the first resolution of a hold stands: later captures, voids and progress change nothing', async () => {
  await using database = await testDatabase();
  await using directory = await testDirectory();
  const accountId = await fundedAgent(database.sql, 1_000n);
  const instance = await testInstance(database.sql, directory.path);
  const captured = await held(instance, accountId, 100n);
  await captured.capture(closing(40));
  await captured.capture(closing(90));
  await captured.void();
  captured.progress(closing(80));
  const voided = await held(instance, accountId, 100n);
  await voided.void();
  await voided.capture(closing(90));
  expect([captured.charged, voided.charged, instance.holds.heldBy(accountId)]).toEqual([40n, 0n, 0n]);
  await instance.close();
  expect(await balances(database.sql, accountId)).toEqual({ prepaid: 960n, escrow: 0n });
});

test('counts that are not whole are refused before anything changes', async () => {
  await using database = await testDatabase();
  await using directory = await testDirectory();
  const accountId = await fundedAgent(database.sql, 1_000n);
  const instance = await testInstance(database.sql, directory.path);
  const hold = await held(instance, accountId, 100n);
  for (const wrong of [{ completionTokens: 1.5 }, { totalMs: 0.5 }, { promptTokens: -1 }, { queueMs: NaN }]) {
    expect(() => hold.capture(closing(1, wrong))).toThrow(RangeError);
  }
  expect(instance.holds.heldBy(accountId)).toBe(100n);
  await hold.capture(closing(1));
  expect(hold.charged).toBe(1n);
  await instance.close();
});

test('the operator gets the share, rounded down, and revenue gets the rest', async () => {
  await using database = await testDatabase();
  await using directory = await testDirectory();
  const accountId = await fundedAgent(database.sql, 1_000n);
  const { id: operatorId } = await createOperator(database.sql, { name: 'operator', sharePpm: 900_000 });
  const instance = await testInstance(database.sql, directory.path);
  const hold = await held(instance, accountId, 100n);
  await hold.capture(closing(33, { operatorId, operatorSharePpm: 900_000 }));
  await instance.close();
  expect(await earnings(database.sql, operatorId)).toEqual({ earned: 29n, pending: 29n, paid: 0n });
  const [revenue] = await database.sql<{ balance: bigint }[]>`select balance from account where id = 'revenue'`;
  expect(revenue?.balance).toBe(4n);
});

test('a hold that nobody resolves is charged at its last progress when it expires, or given back when there is none', async () => {
  await using database = await testDatabase();
  await using directory = await testDirectory();
  const accountId = await fundedAgent(database.sql, 1_000n);
  let nowMs = 0;
  const instance = await testInstance(database.sql, directory.path, { now: () => nowMs, holdExpiryMs: 60_000 });
  const streamed = await held(instance, accountId, 100n);
  streamed.open(closing(0, { streamed: true }));
  streamed.progress(closing(25));
  const silent = await held(instance, accountId, 100n);
  nowMs = 59_999;
  const young = await held(instance, accountId, 100n);
  instance.holds.expire();
  expect(instance.holds.heldBy(accountId)).toBe(300n);
  nowMs = 60_000;
  instance.holds.expire();
  expect(instance.holds.heldBy(accountId)).toBe(100n);
  expect([streamed.charged, silent.charged, young.charged]).toEqual([25n, 0n, 0n]);
  await instance.close();
  const rows = await database.sql<
    { outcome: string; charged_nanousd: bigint }[]
  >`select outcome, charged_nanousd from call`;
  expect([...rows]).toEqual([{ outcome: 'aborted', charged_nanousd: 25n }]);
});

test('a void leaves no trace of a call that was never opened, and a free record of one that was', async () => {
  await using database = await testDatabase();
  await using directory = await testDirectory();
  const accountId = await fundedAgent(database.sql, 1_000n);
  const instance = await testInstance(database.sql, directory.path);
  await (await held(instance, accountId, 100n)).void();
  const opened = await held(instance, accountId, 100n);
  opened.open(closing(0));
  await opened.void(closing(12, { outcome: 'failed' }));
  await instance.close();
  const rows = await database.sql<object[]>`select outcome, completion_tokens, charged_nanousd from call`;
  expect([...rows]).toEqual([{ outcome: 'failed', completion_tokens: 12, charged_nanousd: 0n }]);
});

test('without a disk an answer waits for the commit of its charge', async () => {
  await using database = await testDatabase();
  const accountId = await fundedAgent(database.sql, 1_000n);
  const instance = await testInstance(database.sql, null);
  const hold = await held(instance, accountId, 100n);
  await hold.capture(closing(40));
  const rows = await database.sql<object[]>`select charged_nanousd from call where id = ${hold.callId}`;
  expect([...rows]).toEqual([{ charged_nanousd: 40n }]);
  await instance.close();
});
