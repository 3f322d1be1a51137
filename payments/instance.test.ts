import { type ChildProcess, spawn } from 'node:child_process';
import { appendFile, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { violations } from '../db/checks.ts';
import { connect, type Sql } from '../db/connect.ts';
import { testDatabase } from '../db/testing.ts';
import { balances } from './ledger.ts';
import { LOCK_SPACE, takeLock } from './lock.ts';
import { closing, fundedAgent, held, request, testDirectory, testInstance } from './testing.ts';

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

test.each(['page', 'disk', 'database'])(
  'killed again and again at level %s: every acknowledged call is charged once, as it was said, and the books balance',
  { timeout: 120_000 },
  async (ack) => {
    await using database = await testDatabase();
    await using directory = await testDirectory();
    const accounts = await Promise.all(Array.from({ length: 3 }, () => fundedAgent(database.sql, 10_000_000n)));
    const acknowledged = new Map<string, string>();
    const endless: string[] = [];
    for (let round = 0; round < 3; round++) {
      const child = startChild([database.url, directory.path, ack, ...accounts], acknowledged);
      await child.started;
      await new Promise((resolve) => setTimeout(resolve, 200 + 200 * round));
      child.process.kill('SIGKILL');
      await child.ended;
      endless.push(...child.endless);
      expect(await violations(database.sql)).toEqual([]);
    }
    const instance = await testInstance(database.sql, directory.path);
    await instance.close();
    expect(acknowledged.size).toBeGreaterThan(100);
    expect(await wrongCharges(database.sql, acknowledged)).toEqual([]);
    const cut = await database.sql<object[]>`
      select distinct outcome, charged_nanousd from call where id in ${database.sql(endless)}`;
    expect([endless.length, ...cut]).toEqual([3, { outcome: 'aborted', charged_nanousd: 25n }]);
    const [open] = await database.sql<{ escrow: bigint }[]>`
      select coalesce(sum(balance), 0)::bigint as escrow from account where kind = 'escrow'`;
    expect(open?.escrow).toBe(0n);
  },
);

test('when the journal cannot be written, the instance is not healthy, and what it acknowledges is in the database', async () => {
  await using database = await testDatabase();
  await using directory = await testDirectory();
  const accountId = await fundedAgent(database.sql, 10_000_000n);
  const acknowledged = new Map<string, string>();
  // The system lets the process write files of 64 KiB at most: the journal's write fails with EFBIG.
  const child = startChild([database.url, directory.path, 'page', accountId], acknowledged, 'ulimit -f 128;');
  expect(await child.ended).toBe(0);
  expect(child.lines).toContainEqual({ healthy: false });
  expect(acknowledged.size).toBeGreaterThan(10);
  expect(await wrongCharges(database.sql, acknowledged)).toEqual([]);
  await (await testInstance(database.sql, directory.path)).close();
});

/** Starts testing-child.ts and gathers what it acknowledges. */
function startChild(args: string[], acknowledged: Map<string, string>, limits = '') {
  const script = fileURLToPath(new URL('./testing-child.ts', import.meta.url));
  const child: ChildProcess = spawn('sh', ['-c', `${limits} exec "$@"`, 'sh', process.execPath, script, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const started = Promise.withResolvers<void>();
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  const lines: object[] = [];
  const endless: string[] = [];
  if (child.stdout === null) throw new Error('the child has no output');
  createInterface({ input: child.stdout }).on('line', (line) => {
    const said = parseLine(line);
    if (said === null) return;
    if (said.acknowledged !== undefined) acknowledged.set(said.acknowledged, said.charged ?? '');
    else if (said.endless !== undefined) endless.push(said.endless);
    else lines.push(said);
    started.resolve();
  });
  return { process: child, started: started.promise, ended, lines, endless };
}

/** Null for a line that the kill cut off. */
function parseLine(line: string): { acknowledged?: string; charged?: string; endless?: string } | null {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}

/** The acknowledged calls that are not charged as they were acknowledged. */
async function wrongCharges(sql: Sql, acknowledged: Map<string, string>): Promise<string[]> {
  const rows = await sql<{ id: string; charged: string }[]>`select id, charged_nanousd::text as charged from call`;
  const charged = new Map(rows.map((row) => [row.id, row.charged]));
  return [...acknowledged].filter(([id, amount]) => charged.get(id) !== amount).map(([id]) => id);
}

async function outcomes(sql: Sql): Promise<Record<string, string>> {
  const rows = await sql<{ id: string; outcome: string }[]>`select id, outcome from call`;
  return Object.fromEntries(rows.map(({ id, outcome }) => [id, outcome]));
}
