/** The ledger in processes that are killed, or whose disk fails. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { violations } from '../db/checks.ts';
import type { Sql } from '../db/connect.ts';
import { testDatabase } from '../db/testing.ts';
import { balances } from './ledger.ts';
import { fundedAgent, testDirectory, testInstance } from './testing.ts';

const OWN_MOUNTS = ['unshare', '--user', '--map-root-user', '--mount'];

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

test.skipIf(!canMount())(
  "when the journal's disk is full, what was acknowledged is in the database, and nothing else is",
  async () => {
    await using database = await testDatabase();
    await using directory = await testDirectory();
    const accountId = await fundedAgent(database.sql, 10_000_000n);
    const acknowledged = new Map<string, string>();
    // A disk of 128 KiB that only the child sees, and that is gone with it.
    const mount = `mount -t tmpfs -o size=128k none ${directory.path};`;
    const child = startChild([database.url, directory.path, 'page', accountId], acknowledged, mount, OWN_MOUNTS);
    expect(await child.ended).toBe(0);
    expect(child.lines).toContainEqual({ healthy: false });
    expect(acknowledged.size).toBeGreaterThan(10);
    expect(await wrongCharges(database.sql, acknowledged)).toEqual([]);
    expect(await balances(database.sql, accountId)).toMatchObject({ escrow: 0n });
  },
);

/** Whether this system lets us give a process mounts of its own. */
function canMount(): boolean {
  const [command = '', ...args] = OWN_MOUNTS;
  return spawnSync(command, [...args, 'mount', '-t', 'tmpfs', 'none', '/tmp']).status === 0;
}

/** Starts testing-child.ts and gathers what it acknowledges. */
function startChild(args: string[], acknowledged: Map<string, string>, first = '', around: readonly string[] = []) {
  const script = fileURLToPath(new URL('./testing-child.ts', import.meta.url));
  const [command = '', ...rest] = [
    ...around,
    'sh',
    '-c',
    `${first} exec "$@"`,
    'sh',
    process.execPath,
    script,
    ...args,
  ];
  const child: ChildProcess = spawn(command, rest, {
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
