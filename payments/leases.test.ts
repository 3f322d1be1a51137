import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { v7 as uuidv7 } from 'uuid';
import { expect, test } from 'vitest';
import { connect } from '../db/connect.ts';
import { testDatabase } from '../db/testing.ts';
import { giveBack, reclaimable, reclaimLeases } from './lease-statements.ts';
import { balances, deposit } from './ledger.ts';
import { Purse } from './purse.ts';
import { closing, fundedAgent, held, request, testDirectory, testInstance } from './testing.ts';

test('two instances that compete for one account never lease more than was deposited, and between them grant what fits', async () => {
  await using database = await testDatabase();
  const accountId = await fundedAgent(database.sql, 1_000n);
  const instances = await Promise.all([testInstance(database.sql, null), testInstance(database.sql, null)]);
  const outcomes = await Promise.all(
    Array.from({ length: 60 }, (_, i) => instances[i % 2]?.holds.hold(request(accountId, 50n))),
  );
  const granted = outcomes.filter((outcome) => outcome !== undefined && !('code' in outcome));
  const { prepaid, escrow } = await balances(database.sql, accountId);
  expect(prepaid + escrow).toBe(1_000n);
  expect(granted).toHaveLength(20);
  for (const instance of instances) await instance.close();
  expect(await balances(database.sql, accountId)).toEqual({ prepaid: 1_000n, escrow: 0n });
});

test('a lease is call-sized while only a few calls can be paid, and leaves at least half of the rest otherwise', async () => {
  await using database = await testDatabase();
  const poor = await fundedAgent(database.sql, 400n);
  const rich = await fundedAgent(database.sql, 1_000_000n);
  const instance = await testInstance(database.sql, null);
  await held(instance, poor, 100n);
  await held(instance, rich, 100n);
  expect(await balances(database.sql, poor)).toEqual({ prepaid: 300n, escrow: 100n });
  expect(await balances(database.sql, rich)).toEqual({ prepaid: 998_300n, escrow: 1_700n });
  const middling = await fundedAgent(database.sql, 1_101n);
  await held(instance, middling, 100n);
  expect(await balances(database.sql, middling)).toEqual({ prepaid: 501n, escrow: 600n });
  await instance.close();
});

test('what is deposited later can be held at once', async () => {
  await using database = await testDatabase();
  const accountId = await fundedAgent(database.sql, 10n);
  const instance = await testInstance(database.sql, null);
  expect(await instance.holds.hold(request(accountId, 100n))).toEqual({
    code: 'insufficient_balance',
    available: 10n,
    budget: null,
  });
  await deposit(database.sql, { accountId, amount: 90n, reference: 'second' });
  expect(await instance.holds.hold(request(accountId, 100n))).not.toHaveProperty('code');
  await instance.close();
});

test('an amount that no balance can reach is refused as any other', async () => {
  await using database = await testDatabase();
  const accountId = await fundedAgent(database.sql, 10n);
  const instance = await testInstance(database.sql, null);
  const refusal = await instance.holds.hold(request(accountId, 10n ** 40n));
  expect(refusal).toEqual({ code: 'insufficient_balance', available: 10n, budget: null });
  expect(await instance.holds.hold(request('acct_unknown', 1n))).toEqual({
    code: 'insufficient_balance',
    available: 0n,
    budget: null,
  });
  await instance.close();
});

test('an instance gets no more money once its next life has begun, and is not healthy any more', async () => {
  await using database = await testDatabase();
  await using directory = await testDirectory();
  const accountId = await fundedAgent(database.sql, 1_000_000n);
  const instance = await testInstance(database.sql, directory.path);
  await held(instance, accountId, 100n);
  await database.sql`update instance set epoch = epoch + 1 where id = ${instance.id}`;
  const refusal = await instance.holds.hold(request(accountId, 10_000n));
  expect(refusal).toMatchObject({ code: 'ledger_unavailable' });
  expect(instance.healthy()).toBe(false);
  expect(await instance.holds.hold(request(accountId, 1n))).toMatchObject({ code: 'ledger_unavailable' });
  await instance.close();
});

test('R13, I26 while the database is away, calls that the lease covers go on, others are told to come again', async () => {
  await using database = await testDatabase();
  const accountId = await fundedAgent(database.sql, 1_000_000n);
  const nowhere = connect('postgres://nobody@127.0.0.1:1/none', { max: 2 });
  const here = connect(database.url);
  const sql = switchable(here.sql, nowhere.sql);
  const instance = await testInstance(sql.client, null);
  await held(instance, accountId, 100n);
  sql.away(true);
  await held(instance, accountId, 100n);
  expect(await instance.holds.hold(request(accountId, 10_000n))).toMatchObject({ code: 'ledger_unavailable' });
  sql.away(false);
  const hold = await held(instance, accountId, 10_000n);
  await hold.capture(closing(7));
  await instance.close();
  await Promise.all([here.close(), nowhere.close()]);
  expect(await balances(database.sql, accountId)).toEqual({ prepaid: 999_993n, escrow: 0n });
});

/** A client whose statements go nowhere while it is away. */
function switchable(here: ReturnType<typeof connect>['sql'], nowhere: typeof here) {
  let away = false;
  const current = () => (away ? nowhere : here);
  return {
    client: new Proxy(here, {
      apply: (_, self, args) => Reflect.apply(current(), self, args),
      get: (_, name) => Reflect.get(current(), name),
    }),
    away: (now: boolean) => {
      away = now;
    },
  };
}

test('in a purse, what is available, held and spent is always what was granted', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('take' as const), amount: fc.bigInt({ min: 0n, max: 50n }) }),
    fc.record({ kind: fc.constant('wait' as const), amount: fc.bigInt({ min: 0n, max: 50n }) }),
    fc.record({ kind: fc.constant('grant' as const), amount: fc.bigInt({ min: 0n, max: 200n }) }),
    fc.record({ kind: fc.constant('release' as const), amount: fc.bigInt({ min: 0n, max: 50n }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const purse = new Purse<'refused'>({ accountId: 'acct', budgets: [] }, 'lse', 0);
      let granted = 0n;
      let spent = 0n;
      for (const { kind, amount } of steps) {
        if (kind === 'take') purse.take(amount);
        if (kind === 'wait') void purse.wait(amount);
        if (kind === 'grant') {
          granted += amount;
          purse.recalled(false, 1);
          purse.receive({ granted, left: 0n, asked: purse.nextGrant(1), nowMs: 1 }, () => 'refused');
          expect(purse.hasWaiters).toBe(false);
        }
        if (kind === 'release' && purse.held >= amount) {
          purse.release(amount, amount / 2n);
          spent += amount / 2n;
        }
        expect(purse.available + purse.held + spent).toBe(granted);
        expect(purse.available).toBeGreaterThanOrEqual(0n);
      }
    }),
  );
});

test('those who wait are served in turn', async () => {
  const purse = new Purse<'refused'>({ accountId: 'acct', budgets: [] }, 'lse', 0);
  const order: string[] = [];
  const waiting = [30n, 5n, 5n].map((amount, i) =>
    purse.wait(amount).then((outcome) => order.push(`${i} ${outcome === purse}`)),
  );
  purse.recalled(false, 1);
  purse.receive({ granted: 36n, left: 1n, asked: purse.nextGrant(1), nowMs: 1 }, () => 'refused');
  await Promise.all(waiting.slice(0, 2));
  expect(purse.available).toBe(1n);
  expect(order).toEqual(['0 true', '1 true', '2 false']);
  await Promise.all(waiting);
});

test('instances that lease and give back the same money at the same moment meet no error, and lose nothing of it', async () => {
  await using database = await testDatabase({ max: 40 });
  const call = 24_000n;
  for (let round = 0; round < 6; round++) {
    const accountId = await fundedAgent(database.sql, 20n * call);
    const instances = await Promise.all(Array.from({ length: 6 }, () => testInstance(database.sql, null)));
    let charged = 0n;
    const callOnce = async (i: number) => {
      await sleep((i * 7) % 60);
      const outcome = await instances[i % 6]?.holds.hold(request(accountId, call));
      if (outcome === undefined || 'code' in outcome) return;
      await sleep((i * 3) % 20);
      await outcome.capture(closing(i % 2 === 0 ? 100 : 24_000));
      charged += outcome.charged;
    };
    await Promise.all(Array.from({ length: 300 }, (_, i) => callOnce(i)));
    expect(instances.flatMap(({ reports }) => reports)).toEqual([]);
    await Promise.all(instances.map((instance) => instance.close()));
    expect(await balances(database.sql, accountId)).toEqual({ prepaid: 20n * call - charged, escrow: 0n });
  }
}, 60_000);

test('a lease that ran out is spent no more, and what is left in it goes back long after', async () => {
  await using database = await testDatabase();
  const accountId = await fundedAgent(database.sql, 1_000_000n);
  let nowMs = 0;
  const gone = await testInstance(database.sql, null, { now: () => nowMs });
  await held(gone, accountId, 100n);
  await database.sql`update lease set expires_at = expires_at - interval '21 minutes'`;
  await reclaimLeases(database.sql);
  expect((await balances(database.sql, accountId)).escrow).toBeGreaterThan(0n);
  expect(await reclaimable(database.sql)).toBe(false);
  await database.sql`update lease set expires_at = expires_at - interval '2 minutes'`;
  expect(await reclaimable(database.sql)).toBe(true);
  await reclaimLeases(database.sql);
  expect(await balances(database.sql, accountId)).toEqual({ prepaid: 1_000_000n, escrow: 0n });
  nowMs += 600_000;
  const late = await held(gone, accountId, 100n);
  await late.capture(closing(30));
  await gone.close();
  expect(await balances(database.sql, accountId)).toEqual({ prepaid: 999_970n, escrow: 0n });
});

test('a lease that was never granted counts as closed, so that an idle purse without money is forgotten', async () => {
  await using database = await testDatabase();
  const holder = { instanceId: 'inst_none', epoch: 1 };
  const nothing = { txnId: uuidv7(), amount: 0n };
  expect(await giveBack(database.sql, holder, 'lse_none', nothing)).toEqual({ closed: true });
});
