import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Sql } from '../db/connect.ts';
import { testDatabase } from '../db/testing.ts';
import { closing, fundedAgent, held, testDirectory, testInstance } from './testing.ts';
import { startedNode } from './testing-node.ts';

test('when a charge is acknowledged, its record is in the journal', async () => {
  await using database = await testDatabase();
  await using directory = await testDirectory();
  const accountId = await fundedAgent(database.sql, 10_000n);
  const instance = await testInstance(database.sql, directory.path);
  const hold = await held(instance, accountId, 100n);
  await hold.capture(closing(7));
  expect(journalText(join(directory.path, 'journal'))).toContain(hold.callId);
  await instance.close();
});

test('the next life charges what the lease of the last one covers before it returns the rest, and files no exception', async () => {
  await using database = await testDatabase();
  await using directory = await testDirectory();
  const accountId = await fundedAgent(database.sql, 10_000n);
  const { node, instance } = await startedNode(database.sql, directory.path);
  const hold = await held(instance, accountId, 100n);
  node.partition();
  await hold.capture(closing(40));
  node.kill();
  await node.start();
  await node.instance?.earlierSettled;
  expect(await exceptions(database.sql)).toBe(0);
  const [call] = await database.sql`select charged_nanousd as charged from call where id = ${hold.callId}`;
  expect(call?.charged).toBe(40n);
  await node.stop();
});

test('a kill leaves a free record of a stream that was dispatched, and no trace of a whole answer, of which nothing was delivered', async () => {
  await using database = await testDatabase();
  await using directory = await testDirectory();
  const accountId = await fundedAgent(database.sql, 10_000n);
  const { node, instance } = await startedNode(database.sql, directory.path);
  const stream = await held(instance, accountId, 100n);
  stream.open(closing(0, { streamed: true }));
  (await held(instance, accountId, 100n)).open(closing(0));
  await new Promise((resolve) => setImmediate(resolve));
  node.kill();
  await node.start();
  await node.instance?.earlierSettled;
  const calls = await database.sql<object[]>`select id, outcome, charged_nanousd as charged from call`;
  expect([...calls]).toEqual([{ id: stream.callId, outcome: 'aborted', charged: 0n }]);
  await node.stop();
});

/** All that stands in the segments of a journal now: read without letting anybody else have a turn. */
function journalText(directory: string): string {
  const names = readdirSync(directory).filter((name) => name.endsWith('.log'));
  return names.map((name) => readFileSync(join(directory, name), 'utf8')).join('');
}

async function exceptions(sql: Sql): Promise<number> {
  const [row] = await sql<{ count: number }[]>`select count(*)::int as count from settle_exception`;
  return row?.count ?? 0;
}
