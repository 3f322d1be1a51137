import fc from 'fast-check';
import { v7 as uuidv7 } from 'uuid';
import { expect, test } from 'vitest';
import type { Sql } from '../db/connect.ts';
import { testDatabase } from '../db/testing.ts';
import { createBudget } from './budgets.ts';
import type { HoldRequest } from './holds.ts';
import type { LedgerInstance } from './instance.ts';
import { reclaimLeases } from './lease-statements.ts';
import { balances, newId } from './ledger.ts';
import { closing, fundedAgent, testDirectory, testInstance } from './testing.ts';
import { startedNode } from './testing-node.ts';

const RICH = 1_000_000_000n;

async function budget(sql: Sql, limit: bigint, windowSeconds: number | null = null): Promise<string> {
  const id = newId('key');
  await createBudget(sql, id, { limit, windowSeconds });
  return id;
}

function under(budgets: readonly string[], accountId: string, amount: bigint): HoldRequest {
  return { callId: uuidv7(), accountId, keyId: budgets[0] ?? 'key', budgets, amount };
}

/** Calls of 10 until one is refused; answers how many there were. */
async function spendAll({ holds }: LedgerInstance, budgets: readonly string[], accountId: string): Promise<number> {
  for (let calls = 0; ; calls++) {
    const hold = await holds.hold(under(budgets, accountId, 10n));
    if ('code' in hold) {
      expect(hold.code).toBe('insufficient_balance');
      return calls;
    }
    await new Promise((resolve) => setImmediate(resolve));
    await hold.capture(closing(10));
  }
}

async function state(sql: Sql, id: string): Promise<{ spent: bigint; leased: bigint; overrun: bigint }> {
  const [row] = await sql<{ spent: bigint; leased: bigint; overrun: bigint }[]>`
    select spent, leased, overrun from budget where id = ${id}`;
  if (row === undefined) throw new Error('no such budget');
  return row;
}

test('a refusal tells what is left and whose budget it is', async () => {
  await using database = await testDatabase();
  const accountId = await fundedAgent(database.sql, RICH);
  const parent = await budget(database.sql, 50n);
  const child = await budget(database.sql, 500n);
  const instance = await testInstance(database.sql, null);
  const refused = await instance.holds.hold(under([child, parent], accountId, 60n));
  expect(refused).toEqual({ code: 'insufficient_balance', available: 50n, budget: parent });
  const poor = await fundedAgent(database.sql, 5n);
  const ample = await budget(database.sql, 500n);
  expect(await instance.holds.hold(under([ample], poor, 60n))).toMatchObject({ available: 5n, budget: null });
  await instance.close();
});

test.each([
  [8, 1],
  [64, 3],
])(
  '%i callers at %i instances, keys below a key with a budget: exactly its money is spent, and of each key at most its own',
  async (callers, count) => {
    await using database = await testDatabase({ max: 24 });
    const { sql } = database;
    const accountId = await fundedAgent(sql, RICH);
    const parent = await budget(sql, 3_000n);
    const small = await budget(sql, 400n);
    const lines = [[parent], [small, parent], [await budget(sql, 9_000n), parent]];
    const instances = await Promise.all(Array.from({ length: count }, () => testInstance(sql, null)));
    const calls = await Promise.all(
      Array.from({ length: callers }, (_, caller) => {
        const instance = instances[caller % count];
        if (instance === undefined) throw new Error('no instance');
        return spendAll(instance, lines[caller % lines.length] ?? [], accountId);
      }),
    );
    expect(calls.reduce((sum, own) => sum + own, 0)).toBe(300);
    for (const instance of instances) {
      await instance.close();
      expect(instance.reports).toEqual([]);
    }
    expect(await state(sql, parent)).toEqual({ spent: 3_000n, leased: 0n, overrun: 0n });
    expect((await state(sql, small)).spent).toBeLessThanOrEqual(400n);
    expect(await balances(sql, accountId)).toEqual({ prepaid: RICH - 3_000n, escrow: 0n });
    const [circles] = await sql`select deadlocks from pg_stat_database where datname = current_database()`;
    expect(circles?.deadlocks).toBe(0n);
  },
  60_000,
);

test('what another key of the same gateway has leased and does not use is there for this one', async () => {
  await using database = await testDatabase();
  const accountId = await fundedAgent(database.sql, RICH);
  const parent = await budget(database.sql, 100n);
  const [first, second] = [await budget(database.sql, 100n), await budget(database.sql, 100n)];
  const instance = await testInstance(database.sql, null);
  const hold = await instance.holds.hold(under([first, parent], accountId, 90n));
  if ('code' in hold) throw new Error(hold.code);
  await hold.capture(closing(10));
  const next = await instance.holds.hold(under([second, parent], accountId, 90n));
  if ('code' in next) throw new Error(`${next.code}, though 90 are there`);
  await next.void();
  await instance.close();
});

test('in no window more is settled than its budget, and each window begins with all of it', async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const accountId = await fundedAgent(sql, RICH);
  const id = await budget(sql, 200n, 1);
  const instance = await testInstance(sql, null);
  let calls = 0;
  // Two windows are over for certain when more than two budgets are spent.
  while (calls <= 40) calls += await spendAll(instance, [id], accountId);
  const windows = await sql<{ spent: bigint }[]>`
    select sum(charged_nanousd)::bigint as spent from call group by floor(extract(epoch from settled_at))`;
  for (const { spent } of windows) expect(spent).toBeLessThanOrEqual(200n);
  expect(windows.length).toBeGreaterThanOrEqual(3);
  await instance.close();
}, 30_000);

test('any tree of keys: no budget is ever exceeded, and nothing is refused that all budgets in the line allow', async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const node = fc.record({ parent: fc.nat(5), limit: fc.option(fc.bigInt({ min: 0n, max: 300n })) });
  const call = fc.record({
    key: fc.nat(5),
    amount: fc.bigInt({ min: 1n, max: 120n }),
    used: fc.nat(120),
    at: fc.nat(1),
  });
  const instances = [await testInstance(sql, null), await testInstance(sql, null)];
  await fc.assert(
    fc.asyncProperty(
      fc.array(node, { minLength: 1, maxLength: 6 }),
      fc.array(call, { maxLength: 25 }),
      async (nodes, calls) => {
        const accountId = await fundedAgent(sql, 1_000n);
        const left = new Map<string, bigint>();
        const lines: string[][] = [];
        for (const [index, { parent, limit }] of nodes.entries()) {
          const above = index === 0 ? [] : (lines[parent % index] ?? []);
          const own = limit === null ? null : await budget(sql, limit);
          if (own !== null && limit !== null) left.set(own, limit);
          lines.push(own === null ? above : [own, ...above]);
        }
        left.set('account', 1_000n);
        for (const { key, amount, used, at } of calls) {
          const line = lines[key % lines.length] ?? [];
          const binding = [...line, 'account'];
          const hold = await instances[at]?.holds.hold(under(line, accountId, amount));
          const allowed = binding.every((id) => (left.get(id) ?? 0n) >= amount);
          expect(hold !== undefined && !('code' in hold)).toBe(allowed);
          if (hold === undefined || 'code' in hold) continue;
          await hold.capture(closing(used));
          for (const id of binding) left.set(id, (left.get(id) ?? 0n) - hold.charged);
        }
      },
    ),
    { numRuns: 25, endOnFailure: true },
  );
  for (const instance of instances) await instance.close();
}, 120_000);

test('after a crash a budget has spent what was charged, and all that was leased under it is free again', async () => {
  await using database = await testDatabase();
  await using directory = await testDirectory();
  const { sql } = database;
  const accountId = await fundedAgent(sql, RICH);
  const id = await budget(sql, 1_000n);
  const { node, instance } = await startedNode(sql, directory.path);
  const hold = await instance.holds.hold(under([id], accountId, 100n));
  if ('code' in hold) throw new Error('refused');
  node.partition();
  await hold.capture(closing(40));
  node.kill();
  expect((await state(sql, id)).leased).toBeGreaterThanOrEqual(100n);
  await node.start();
  await node.instance?.earlierSettled;
  expect(await state(sql, id)).toEqual({ spent: 40n, leased: 0n, overrun: 0n });
  await node.stop();
});

test('a call that is found after its lease was returned is charged all the same, and what is beyond the budget is told', async () => {
  await using database = await testDatabase();
  await using directory = await testDirectory();
  const { sql } = database;
  const accountId = await fundedAgent(sql, RICH);
  const id = await budget(sql, 100n);
  const { node, instance } = await startedNode(sql, directory.path);
  const hold = await instance.holds.hold(under([id], accountId, 100n));
  if ('code' in hold) throw new Error('refused');
  node.partition();
  await hold.capture(closing(60));
  node.kill();
  await sql`update lease set expires_at = now() - interval '1 day'`;
  await reclaimLeases(sql);
  const other = await testInstance(sql, null);
  const meanwhile = await other.holds.hold(under([id], accountId, 100n));
  if ('code' in meanwhile) throw new Error('refused');
  await meanwhile.capture(closing(90));
  await other.close();
  await node.start();
  await node.instance?.earlierSettled;
  expect(await state(sql, id)).toEqual({ spent: 150n, leased: 0n, overrun: 50n });
  await node.stop();
});
