import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { testDatabase } from '../db/testing.ts';
import { balances } from './ledger.ts';
import { closing, fundedAgent, held, request, testInstance } from './testing.ts';

describe('a recall', () => {
  test('brings what one instance does not use to another that would have to refuse a call', async () => {
    await using database = await testDatabase();
    const accountId = await fundedAgent(database.sql, 10_000n);
    const idle = await testInstance(database.sql, null);
    const busy = await testInstance(database.sql, null);
    const hold = await held(idle, accountId, 100n);
    const { escrow } = await balances(database.sql, accountId);
    expect(escrow).toBeGreaterThan(1_000n);
    await held(busy, accountId, 9_900n);
    expect(await busy.holds.hold(request(accountId, 1n))).toEqual({
      code: 'insufficient_balance',
      available: 0n,
      budget: null,
    });
    await hold.capture(closing(60));
    await held(busy, accountId, 40n);
    await Promise.all([idle.close(), busy.close()]);
    expect(await balances(database.sql, accountId)).toEqual({ prepaid: 9_940n, escrow: 0n });
  });

  test('is made anew where somebody took, in advance, what came back before anybody could be asked', async () => {
    await using database = await testDatabase({ max: 12 });
    const accountId = await fundedAgent(database.sql, 1_000n);
    const [first, third] = await Promise.all([testInstance(database.sql, null), testInstance(database.sql, null)]);
    await (await held(first, accountId, 900n)).void();
    let recalls = 0;
    const sql = new Proxy(database.sql, {
      apply: (target, self, args) => {
        const send = () => Reflect.apply(target, self, args) as PromiseLike<unknown>;
        if (!String(args[0]).includes('recalled = l.recalled + 1') || recalls++ > 0) return send();
        return (async () => {
          await first.close();
          const answer = await send();
          await (await held(third, accountId, 600n)).void();
          return answer;
        })();
      },
    });
    const second = await testInstance(sql, null);
    const hold = await held(second, accountId, 500n);
    expect(recalls).toBe(2);
    await hold.void();
    await Promise.all([second.close(), third.close()]);
    expect(await balances(database.sql, accountId)).toEqual({ prepaid: 1_000n, escrow: 0n });
  });

  test('is not waited for when nobody else has any of the money', async () => {
    await using database = await testDatabase();
    const accountId = await fundedAgent(database.sql, 1_000n);
    const instance = await testInstance(database.sql, null);
    await held(instance, accountId, 900n);
    expect(await instance.holds.hold(request(accountId, 200n))).toEqual({
      code: 'insufficient_balance',
      available: 100n,
      budget: null,
    });
    const [recalled] = await database.sql`select max(recalled) as most from lease`;
    expect(recalled?.most).toBe(0);
    await instance.close();
  });

  test('to an instance that died is given up after a while, and no longer waited for after some', async () => {
    await using database = await testDatabase();
    const accountId = await fundedAgent(database.sql, 1_000n);
    const dead = await testInstance(database.sql, null, { lasting: false });
    await held(dead, accountId, 600n);
    const living = await testInstance(database.sql, null);
    for (let times = 0; times < 6; times++)
      expect(await living.holds.hold(request(accountId, 500n))).toEqual({
        code: 'insufficient_balance',
        available: 400n,
        budget: null,
      });
    await Promise.all([dead.close(), living.close()]);
  }, 20_000);

  test.each([
    [64, 2],
    [200, 4],
    [1_000, 8],
  ])(
    '%i callers at %i instances with money for exactly N: exactly N succeed',
    async (callers, instances) => {
      await using database = await testDatabase({ max: 24 });
      const call = 100n;
      for (const payable of [1, 7, callers >> 1, callers - 1]) {
        const accountId = await fundedAgent(database.sql, BigInt(payable) * call);
        const all = await Promise.all(Array.from({ length: instances }, () => testInstance(database.sql, null)));
        const outcomes = await Promise.all(
          Array.from({ length: callers }, async (_, i) => {
            for (;;) {
              const outcome = await all[i % instances]?.holds.hold(request(accountId, call));
              // A machine too busy for a statement in time is no refusal: callers ask again.
              if (outcome !== undefined && 'code' in outcome && outcome.code === 'ledger_unavailable') {
                await sleep(10);
                continue;
              }
              if (outcome === undefined || 'code' in outcome) return outcome?.code;
              await outcome.capture(closing(100));
              return 'paid';
            }
          }),
        );
        expect(outcomes.filter((outcome) => outcome === 'paid')).toHaveLength(payable);
        expect(new Set(outcomes)).toEqual(new Set(['paid', 'insufficient_balance']));
        await Promise.all(all.map((instance) => instance.close()));
        expect(await balances(database.sql, accountId)).toEqual({ prepaid: 0n, escrow: 0n });
      }
    },
    60_000,
  );
});
