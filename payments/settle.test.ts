import { v7 as uuidv7 } from 'uuid';
import { expect, test } from 'vitest';
import { connect, type Sql } from '../db/connect.ts';
import { testDatabase } from '../db/testing.ts';
import { listExceptions } from './exceptions.ts';
import { balances, createOperator, earnings } from './ledger.ts';
import { type Closing, columnsOf, recordText } from './record.ts';
import { Settler } from './settle.ts';
import { closing, fundedAgent, held, testInstance } from './testing.ts';

/** An account whose instance has leased 1,600 of its million, and a maker of closed calls against that lease. */
async function leased(sql: Sql) {
  const accountId = await fundedAgent(sql, 1_000_000n);
  const instance = await testInstance(sql, null);
  await (await held(instance, accountId, 100n)).void();
  const [lease] = await sql<{ id: string }[]>`select id from lease where account_id = ${accountId}`;
  const call = (charged: bigint, operatorId: string | null = null, changes: Partial<Closing> = {}) => {
    const holding = { callId: uuidv7(), accountId, keyId: 'key', leaseId: lease?.id ?? '', amount: charged };
    const share = operatorId === null ? 0n : charged / 2n;
    const used = closing(1, { operatorId, ...changes });
    return { text: recordText(holding, used, { charged, share }), segment: SEGMENT };
  };
  return { accountId, instance, call };
}

function testSettler(sql: Sql, fillMs?: number) {
  const reports: unknown[] = [];
  const settled = { calls: 0 };
  const settler = new Settler({
    sql,
    settled: (segment, calls) => {
      expect(segment).toBe(SEGMENT);
      settled.calls += calls;
    },
    report: (error) => void reports.push(error),
    ...(fillMs === undefined ? {} : { fillMs }),
  });
  return { settler, reports, settled };
}

const HOUR_MS = 3_600_000;
/** The journal's. */
const SEGMENT = 7;

test('the same batch again, also at once and in other company, charges nothing more', async () => {
  await using database = await testDatabase();
  const { accountId, instance, call } = await leased(database.sql);
  const { id: operatorId } = await createOperator(database.sql, { name: 'operator', sharePpm: 500_000 });
  const calls = Array.from({ length: 50 }, () => call(10n, operatorId));
  const settlers = Array.from({ length: 4 }, () => testSettler(database.sql));
  for (const { settler } of settlers) for (const one of calls) void settler.add(one);
  await Promise.all(settlers.map(({ settler }) => settler.drain()));
  const [first] = settlers;
  for (const one of [...calls, ...calls, call(10n)]) void first?.settler.add(one);
  await first?.settler.drain();
  expect(await balances(database.sql, accountId)).toMatchObject({ escrow: 1_700n - 510n });
  expect((await earnings(database.sql, operatorId)).earned).toBe(250n);
  await instance.close();
});

test('a settled call has in each column what its record has', async () => {
  await using database = await testDatabase();
  const { instance, accountId, call } = await leased(database.sql);
  const { id: operatorId } = await createOperator(database.sql, { name: 'operator', sharePpm: 500_000 });
  const { settler } = testSettler(database.sql);
  const { text } = call(90n, operatorId, { model: 'a "model",\n', region: 'ø\\', outcome: 'failed', streamed: true });
  void settler.add({ text, segment: null });
  await settler.drain();
  const [row] = await database.sql<
    { call: object }[]
  >`select to_jsonb(call) as call from call where account_id = ${accountId}`;
  const stored = Object.entries(row?.call ?? {}).map(([name, value]) => [
    name,
    name.endsWith('nanousd') ? String(value) : value,
  ]);
  expect(Object.fromEntries(stored)).toMatchObject(columnsOf(text));
  await instance.close();
});

test('more calls than a batch holds are all settled, and each is told to the journal', async () => {
  await using database = await testDatabase();
  const { accountId, instance, call } = await leased(database.sql);
  const { settler, settled } = testSettler(database.sql);
  for (let i = 0; i < 2_500; i++) void settler.add(call(i < 1_500 ? 1n : 0n));
  await settler.drain();
  expect(settled.calls).toBe(2_500);
  expect(settler.waiting).toBe(0);
  expect(await balances(database.sql, accountId)).toMatchObject({ escrow: 200n });
  await instance.close();
});

test('calls that nobody waits for share a statement, until somebody waits for one of them, or no more fit in', async () => {
  await using database = await testDatabase();
  const { instance, call } = await leased(database.sql);
  const { settler, settled } = testSettler(database.sql, HOUR_MS);
  for (let i = 0; i < 10; i++) {
    void settler.add(call(1n));
    await new Promise(setImmediate);
  }
  await database.sql`select pg_sleep(0.1)`;
  expect(settled.calls).toBe(0);
  await settler.drain();
  expect(settled.calls).toBe(10);
  const wanted = settler.add(call(1n));
  settler.hurry();
  await wanted;
  const [row] = await database.sql<object[]>`select count(*)::int as txns from txn where kind = 'settle'`;
  expect(row).toEqual({ txns: 2 });
  for (let i = 0; i < 4_001; i++) void settler.add(call(0n));
  await expect.poll(() => settled.calls).toBe(11 + 4_000);
  await settler.drain();
  await instance.close();
});

test('free calls are recorded and move no money', async () => {
  await using database = await testDatabase();
  const { instance, call } = await leased(database.sql);
  const { settler } = testSettler(database.sql);
  await settler.add(call(0n));
  const [row] = await database.sql<object[]>`
    select (select count(*)::int from call) as calls, (select count(*)::int from txn where kind = 'settle') as txns`;
  expect(row).toEqual({ calls: 1, txns: 0 });
  await instance.close();
});

test('a call that its lease does not cover is paid from prepaid money, then by us, and filed; the others settle as ever', async () => {
  await using database = await testDatabase();
  const { accountId, instance, call } = await leased(database.sql);
  const { settler, reports } = testSettler(database.sql);
  const others = Array.from({ length: 20 }, () => call(1n));
  const [late, hopeless] = [call(5_000n), call(2_000_000n)];
  for (const one of [...others.slice(0, 7), late, ...others.slice(7), hopeless]) void settler.add(one);
  await settler.drain();
  await settler.add(late);
  expect(await balances(database.sql, accountId)).toEqual({ prepaid: 0n, escrow: 0n });
  const filed = await database.sql<
    object[]
  >`select reason, record ->> 'charged_nanousd' as charged from settle_exception order by 2`;
  expect([...filed]).toEqual([
    { reason: 'escrow_short', charged: '2000000' },
    { reason: 'escrow_short', charged: '5000' },
  ]);
  const { exceptions, hasMore } = await listExceptions(database.sql, { limit: 1, after: null });
  expect(exceptions).toMatchObject([{ reason: 'escrow_short', accountId }]);
  const rest = await listExceptions(database.sql, { limit: 5, after: exceptions[0]?.callId ?? null });
  expect([hasMore, rest.hasMore, rest.exceptions.length]).toEqual([true, false, 1]);
  const [shortfall] = await database.sql<{ balance: bigint }[]>`select balance from account where id = 'shortfall'`;
  expect(shortfall?.balance).toBe(1_000_000n - 20n - 5_000n - 2_000_000n);
  expect(reports).not.toHaveLength(0);
  await instance.close();
});

test('a record that the database cannot take stops the settler visibly, and nothing of its batch is lost', async () => {
  await using database = await testDatabase();
  const { accountId, instance, call } = await leased(database.sql);
  const { settler, reports } = testSettler(database.sql);
  const broken = call(1n);
  void settler.add({ text: broken.text.replace('"complete"', '"unheard"'), segment: null });
  void settler.add(call(10n));
  await expect.poll(() => settler.failure).not.toBeNull();
  expect(reports).toHaveLength(1);
  expect(await balances(database.sql, accountId)).toMatchObject({ escrow: 1_700n });
  settler.stop();
  await instance.close();
});

test('while connections are cut for two seconds, everything that was handed over is settled exactly once', async () => {
  await using database = await testDatabase();
  await using control = asDisposable(connect(database.url, { max: 1 }));
  const { accountId, instance, call } = await leased(database.sql);
  const flaky = connect(database.url, { max: 4 });
  const { settler, reports } = testSettler(flaky.sql);
  const endMs = performance.now() + 2_000;
  const cutting = cutUntil(control.sql, endMs);
  let handed = 0n;
  while (performance.now() < endMs) {
    for (let i = 0; i < 5 && handed < 1_700n; i++, handed++) void settler.add(call(1n));
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
  await cutting;
  await settler.drain();
  expect(reports).toEqual([]);
  expect(await balances(database.sql, accountId)).toMatchObject({ escrow: 1_700n - handed });
  await flaky.close();
  await instance.close();
});

/** Cuts every other connection to the database, again and again. */
async function cutUntil(sql: Sql, endMs: number): Promise<void> {
  while (performance.now() < endMs) {
    await sql`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid()`;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function asDisposable(database: ReturnType<typeof connect>) {
  return { ...database, [Symbol.asyncDispose]: () => database.close() };
}
