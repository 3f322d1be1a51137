import { appendFile, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { expect, test } from 'vitest';
import { connect, type Sql } from '../db/connect.ts';
import { testDatabase } from '../db/testing.ts';
import { balances } from './ledger.ts';
import { LOCK_SPACE, takeLock } from './lock.ts';
import { closing, fundedAgent, held, request, testDirectory, testInstance } from './testing.ts';
import { LedgerNode, startedNode } from './testing-node.ts';

test('a journal that is replayed again, and again, charges nothing more', async () => {
  await using database = await testDatabase();
  await using directory = await testDirectory();
  const accountId = await fundedAgent(database.sql, 10_000n);
  const first = await testInstance(database.sql, directory.path);
  const journal = join(directory.path, 'journal');
  const closed = await held(first, accountId, 100n);
  await closed.capture(closing(40));
  const cut = await held(first, accountId, 100n);
  cut.open(closing(0));
  cut.progress(closing(25));
  const silent = await held(first, accountId, 100n);
  silent.open(closing(0));
  await new Promise((resolve) => setImmediate(resolve));
  const left = await readFile(join(journal, '00000001.log'));
  await first.close();

  await writeFile(join(journal, '00000009.log'), left);
  const second = await testInstance(database.sql, directory.path);
  expect(second.id).toBe(first.id);
  expect(second.epoch).toBeGreaterThan(first.epoch);
  await second.close();
  await writeFile(join(journal, '00000019.log'), left);
  const third = await testInstance(database.sql, directory.path);
  await third.close();
  expect(await balances(database.sql, accountId)).toEqual({ prepaid: 10_000n - 40n - 25n, escrow: 0n });
  expect(await outcomes(database.sql)).toEqual({
    [closed.callId]: 'complete',
    [cut.callId]: 'aborted',
    [silent.callId]: 'aborted',
  });
});

test('damage of the journal is reported, the sound records are settled, the segment is kept', async () => {
  await using database = await testDatabase();
  await using directory = await testDirectory();
  const accountId = await fundedAgent(database.sql, 10_000n);
  const first = await testInstance(database.sql, directory.path);
  await (await held(first, accountId, 100n)).capture(closing(40));
  await first.close();
  const journal = join(directory.path, 'journal');
  await appendFile(join(journal, '00000001.log'), '00000000 {"v":1}\nabc');
  const second = await testInstance(database.sql, directory.path);
  expect(second.reports).toMatchObject([
    {
      message: 'the journal is damaged',
      fields: {
        damage: [
          { kind: 'corrupt', line: 2 },
          { kind: 'torn', line: 3 },
        ],
      },
    },
  ]);
  expect(await readdir(journal)).toContain('00000001.damaged');
  await second.close();
});

test('on a journal with records of a newer release nothing starts, is settled or returned; the newer release loses nothing', async () => {
  await using database = await testDatabase();
  await using directory = await testDirectory();
  const accountId = await fundedAgent(database.sql, 10_000n);
  const { node, instance } = await startedNode(database.sql, directory.path);
  const hold = await held(instance, accountId, 100n);
  node.partition();
  await hold.capture(closing(40));
  node.kill();
  const leased = await balances(database.sql, accountId);
  const newer = join(directory.path, 'life-1', '00000002.log');
  const json = '{"v":1000,"kind":"close","call":{}}';
  await writeFile(newer, `${crc32(json).toString(16).padStart(8, '0')} ${json}\n`);
  await expect(node.start()).rejects.toThrow(/start the newer one/);
  expect(await balances(database.sql, accountId)).toEqual(leased);
  await rm(newer);
  await node.start();
  await node.stop();
  expect(await balances(database.sql, accountId)).toEqual({ prepaid: 9_960n, escrow: 0n });
});

test('an instance opens before what its last life left is settled; whoever lacks that money waits for it, and nothing is lost', async () => {
  await using database = await testDatabase();
  await using directory = await testDirectory();
  const accountId = await fundedAgent(database.sql, 1_000n);
  const { node, instance: first } = await startedNode(database.sql, directory.path);
  const hold = await held(first, accountId, 600n);
  node.partition();
  await hold.capture(closing(40));
  node.kill();

  const other = connect(database.url, { max: 1 });
  const unlock = Promise.withResolvers<void>();
  const locked = Promise.withResolvers<void>();
  const locking = other.sql.begin(async (tx) => {
    await tx`lock table call in access exclusive mode`;
    locked.resolve();
    await unlock.promise;
  });
  await locked.promise;
  await node.start();
  const { instance } = node;
  if (instance === null) throw new Error('it did not start');
  await (await held(instance, accountId, 100n)).void();
  const large = instance.holds.hold(request(accountId, 900n));
  expect(await Promise.race([large, pause(200)])).toBe('nothing yet');
  expect(await readdir(join(directory.path, 'life-1'))).toContain('00000001.log');
  unlock.resolve();
  await locking;
  expect(await large).toMatchObject({ amount: 900n });
  expect(await readdir(join(directory.path, 'life-1'))).toContain('00000001.settled');
  await node.stop();
  await other.close();
  expect(await balances(database.sql, accountId)).toEqual({ prepaid: 960n, escrow: 0n });
});

test('while too many calls wait for the database no others are admitted, and none is lost', async () => {
  await using database = await testDatabase();
  await using directory = await testDirectory();
  const accountId = await fundedAgent(database.sql, 10_000n);
  const options = { now: () => 0, holdExpiryMs: 1_000, unsettledMax: 20 };
  const node = new LedgerNode({ sql: database.sql, home: directory.path, ...options });
  await node.start();
  const { instance } = node;
  if (instance === null) throw new Error('it did not start');
  await (await held(instance, accountId, 100n)).void();
  node.partition();
  for (let call = 0; call < 20; call++) await (await held(instance, accountId, 10n)).capture(closing(1));
  expect(await instance.holds.hold(request(accountId, 10n))).toMatchObject({ code: 'ledger_unavailable' });
  expect(instance.healthy()).toBe(false);
  node.heal();
  await instance.settler.drain();
  expect(instance.healthy()).toBe(true);
  await (await held(instance, accountId, 10n)).capture(closing(1));
  await node.stop();
  expect(await balances(database.sql, accountId)).toEqual({ prepaid: 10_000n - 21n, escrow: 0n });
});

test('recalls that an instance hears and cannot answer leave it alive, and are answered when it can', async () => {
  await using database = await testDatabase();
  await using directory = await testDirectory();
  const accountId = await fundedAgent(database.sql, 1_000n);
  const { node, instance } = await startedNode(database.sql, directory.path);
  await (await held(instance, accountId, 600n)).void();
  const other = await testInstance(database.sql, null);
  node.partition();
  for (let times = 0; times < 2; times++) {
    expect(await other.holds.hold(request(accountId, 900n))).toMatchObject({ code: 'insufficient_balance' });
  }
  node.heal();
  await (await held(other, accountId, 900n)).void();
  await other.close();
  await node.stop();
  expect(await balances(database.sql, accountId)).toEqual({ prepaid: 1_000n, escrow: 0n });
}, 30_000);

test('a directory is one instance at a time', async () => {
  await using database = await testDatabase();
  await using directory = await testDirectory();
  const instance = await testInstance(database.sql, directory.path);
  await expect(testInstance(database.sql, directory.path)).rejects.toThrow(/already/);
  await instance.close();
  const next = await testInstance(database.sql, directory.path);
  await next.close();
});

test('a lock file of a process that is gone, or whose number another process has now, does not keep a start', async () => {
  await using database = await testDatabase();
  await using directory = await testDirectory();
  await (await testInstance(database.sql, directory.path)).close();
  for (const stale of ['4194305 123', `${process.pid} 1`, '']) {
    await writeFile(join(directory.path, 'journal', 'lock'), stale);
    await (await testInstance(database.sql, directory.path)).close();
  }
});

test('one process at a time runs as an instance, whatever directory it has', async () => {
  await using database = await testDatabase();
  const first = await takeLock(database.sql, 'inst_1');
  await expect(takeLock(database.sql, 'inst_1', 300)).rejects.toThrow(/another process/);
  await (await takeLock(database.sql, 'inst_2', 300)).release();
  await first.release();
  await (await takeLock(database.sql, 'inst_1', 300)).release();
});

test('the lock in the database is taken again after its connection was cut, or known to be lost', async () => {
  await using database = await testDatabase();
  const lock = await takeLock(database.sql, 'inst_1');
  const holder = async () => {
    const [row] = await database.sql<{ pid: number }[]>`
      select l.pid from pg_locks l join pg_database d on d.oid = l.database
      where l.locktype = 'advisory' and l.granted and d.datname = current_database()`;
    return row?.pid ?? 0;
  };
  const first = await holder();
  await database.sql`select pg_terminate_backend(${first})`;
  await expect.poll(async () => [0, first].includes(await holder())).toBe(false);
  expect(lock.held).toBe(true);

  // Whoever waits in the database gets it in the moment that it is free.
  const other = connect(database.url, { max: 1 });
  const taken = other.sql`select pg_advisory_lock(${LOCK_SPACE}, hashtext('inst_1'))`.execute();
  const waiters = () => database.sql`select from pg_locks where locktype = 'advisory' and not granted`;
  await expect.poll(async () => (await waiters()).length).toBe(1);
  await database.sql`select pg_terminate_backend(${await holder()})`;
  await taken;
  await expect.poll(() => lock.held).toBe(false);
  await lock.release();
  await other.close();
});

test('money that is granted while an instance closes is returned as well', async () => {
  await using database = await testDatabase();
  await using directory = await testDirectory();
  const accountId = await fundedAgent(database.sql, 1_000_000n);
  for (let round = 0; round < 10; round++) {
    const instance = await testInstance(database.sql, directory.path);
    const waiting = Array.from({ length: 5 }, () => instance.holds.hold(request(accountId, 1_000n)));
    await new Promise((resolve) => setTimeout(resolve, round));
    await instance.close();
    await Promise.all(waiting);
    expect(await balances(database.sql, accountId)).toEqual({ prepaid: 1_000_000n, escrow: 0n });
  }
});

test('without a disk only the database can acknowledge', async () => {
  await using database = await testDatabase();
  await expect(testInstance(database.sql, null, { ack: 'page' })).rejects.toThrow(/needs a disk/);
});

test('what is open when the instance closes is charged at its last progress, and nobody is admitted any more', async () => {
  await using database = await testDatabase();
  await using directory = await testDirectory();
  const accountId = await fundedAgent(database.sql, 1_000n);
  const instance = await testInstance(database.sql, directory.path);
  const hold = await held(instance, accountId, 100n);
  hold.progress(closing(30));
  await instance.close();
  expect(hold.charged).toBe(30n);
  expect(await instance.holds.hold(request(accountId, 1n))).toMatchObject({ code: 'ledger_unavailable' });
  expect(instance.healthy()).toBe(false);
  expect(await balances(database.sql, accountId)).toEqual({ prepaid: 970n, escrow: 0n });
});

async function outcomes(sql: Sql): Promise<Record<string, string>> {
  const rows = await sql<{ id: string; outcome: string }[]>`select id, outcome from call`;
  return Object.fromEntries(rows.map(({ id, outcome }) => [id, outcome]));
}

async function pause(ms: number): Promise<string> {
  await new Promise((resolve) => setTimeout(resolve, ms));
  return 'nothing yet';
}
