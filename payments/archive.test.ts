/** Months of calls that are written to files and dropped: here, as only the ledger makes calls. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { v7 as uuidv7 } from 'uuid';
import { expect, test } from 'vitest';
import { archivedUntil, archiveMonths } from '../db/archive.ts';
import { violations } from '../db/checks.ts';
import type { Sql } from '../db/connect.ts';
import { monthOf } from '../db/months.ts';
import { cutPartitions } from '../db/partitions.ts';
import { testDatabase } from '../db/testing.ts';
import { createBudget } from './budgets.ts';
import { balances, createOperator, earnings, newId } from './ledger.ts';
import { refundCall } from './refunds.ts';
import { closing, fundedAgent, testDirectory, testInstance } from './testing.ts';

const MARCH = Date.UTC(2026, 2, 10);
const APRIL = Date.UTC(2026, 3, 10);
const beforeApril = monthOf(new Date(APRIL));

/** Calls of 10 that began at a time, settled now. */
async function settledCalls(sql: Sql, accountId: string, at: { msecs: number; count: number; budgets?: string[] }) {
  const { id: operatorId } = await createOperator(sql, { name: 'operator', sharePpm: 500_000 });
  const instance = await testInstance(sql, null);
  const ids: string[] = [];
  for (let call = 0; call < at.count; call++) {
    const callId = uuidv7({ msecs: at.msecs + call });
    const request = { callId, accountId, keyId: 'key', budgets: at.budgets ?? [], amount: 10n };
    const hold = await instance.holds.hold(request);
    if ('code' in hold) throw new Error(hold.code);
    await hold.capture(closing(10, { operatorId, operatorSharePpm: 500_000 }));
    ids.push(callId);
  }
  await instance.close();
  return { ids, operatorId };
}

test('an old month is in a file, whole, and no longer in the database; later months and all balances stay', async () => {
  await using database = await testDatabase();
  await using directory = await testDirectory();
  const { sql } = database;
  await cutPartitions(sql, new Date(MARCH));
  const accountId = await fundedAgent(sql, 10_000n);
  const budget = newId('key');
  await createBudget(sql, budget, { limit: 5_000n, windowSeconds: null });
  const { ids, operatorId } = await settledCalls(sql, accountId, { msecs: MARCH, count: 30, budgets: [budget] });
  const kept = await settledCalls(sql, accountId, { msecs: APRIL, count: 3 });
  const before = await balances(sql, accountId);
  expect(await archivedUntil(sql)).toBeNull();

  expect(await archiveMonths(sql, { before: beforeApril, directory: directory.path })).toEqual(['2026-03']);
  expect(await archiveMonths(sql, { before: beforeApril, directory: directory.path })).toEqual([]);
  const text = gunzipSync(await readFile(join(directory.path, 'calls-2026-03.ndjson.gz'))).toString();
  const lines = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { id: string; charged_nanousd: string });
  expect(lines.map(({ id }) => id)).toEqual(ids);
  expect(lines.every(({ charged_nanousd }) => charged_nanousd === '10')).toBe(true);
  const left = await sql<{ id: string }[]>`select id from call order by id`;
  expect(left.map(({ id }) => id)).toEqual(kept.ids);
  expect(await balances(sql, accountId)).toEqual(before);
  expect((await earnings(sql, operatorId)).earned).toBe(150n);
  expect(await archivedUntil(sql)).not.toBeNull();
  expect(await violations(sql)).toEqual([]);
});

test('a call of an archived month that comes again charges nothing and is filed, and the calls beside it are settled', async () => {
  await using database = await testDatabase();
  await using directory = await testDirectory();
  const { sql } = database;
  await cutPartitions(sql, new Date(MARCH));
  const accountId = await fundedAgent(sql, 10_000n);
  await settledCalls(sql, accountId, { msecs: MARCH, count: 1 });
  await archiveMonths(sql, { before: beforeApril, directory: directory.path });
  const { prepaid } = await balances(sql, accountId);
  const instance = await testInstance(sql, null);
  const holds = [MARCH + 9_000, APRIL, APRIL + 1].map(async (msecs) => {
    const hold = await instance.holds.hold({ callId: uuidv7({ msecs }), accountId, keyId: 'key', amount: 10n });
    if ('code' in hold) throw new Error(hold.code);
    await hold.capture(closing(10));
  });
  await Promise.all(holds);
  expect(instance.settler.failure).toBeNull();
  await instance.close();
  expect(await balances(sql, accountId)).toEqual({ prepaid: prepaid - 20n, escrow: 0n });
  const filed = await sql<{ reason: string }[]>`select reason from settle_exception`;
  expect(filed.map(({ reason }) => reason)).toEqual(['month_archived']);
});

test('a refund stays when its call is archived, and an archived call is not refunded any more', async () => {
  await using database = await testDatabase();
  await using directory = await testDirectory();
  const { sql } = database;
  await cutPartitions(sql, new Date(MARCH));
  const accountId = await fundedAgent(sql, 10_000n);
  const { ids } = await settledCalls(sql, accountId, { msecs: MARCH, count: 2 });
  const [first = '', second = ''] = ids;
  await refundCall(sql, { callId: first, amount: 4n, reason: 'slow', reference: 'r' });
  await archiveMonths(sql, { before: beforeApril, directory: directory.path });
  const late = await refundCall(sql, { callId: second, amount: 4n, reason: 'slow', reference: 'r' });
  expect(late).toEqual({ code: 'call_not_found' });
  expect(await balances(sql, accountId)).toEqual({ prepaid: 10_000n - 16n, escrow: 0n });
});

test('two gateways archive a month once, and what cannot be written is not dropped', async () => {
  await using database = await testDatabase();
  await using directory = await testDirectory();
  const { sql } = database;
  await cutPartitions(sql, new Date(MARCH));
  const accountId = await fundedAgent(sql, 10_000n);
  await settledCalls(sql, accountId, { msecs: MARCH, count: 5 });
  const noDirectory = join(directory.path, 'file');
  await writeFile(noDirectory, '');
  await expect(archiveMonths(sql, { before: beforeApril, directory: noDirectory })).rejects.toThrow();
  const [{ count } = { count: 0 }] = await sql<{ count: number }[]>`select count(*)::int as count from call`;
  expect(count).toBe(5);
  const both = Array.from({ length: 2 }, () => archiveMonths(sql, { before: beforeApril, directory: directory.path }));
  expect((await Promise.all(both)).flat()).toEqual(['2026-03']);
});
