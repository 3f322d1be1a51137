/** What a gateway finds of the names that its earlier lives left. */
import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import { testDatabase } from '../db/testing.ts';
import { closing, fundedAgent, request, testDirectory, testInstance } from '../payments/testing.ts';
import { Claims, settleClaims } from './claims.ts';

const log = { warn: () => {} };
const times = { replayMs: 60_000, runningMs: 60_000, log };

test('names of an earlier life: free where the call was not charged, lost where it was or might have been done, others’ untouched', async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const earlier = new Claims({ sql, owner: { id: 'here', epoch: 1 }, ...times });
  const claim = (place: string, isCall: boolean) => ({ id: randomUUID(), isCall, place });
  const charged = claim('charged', true);
  const accountId = await fundedAgent(sql, 1_000n);
  await using directory = await testDirectory();
  const instance = await testInstance(sql, directory.path);
  const hold = await instance.holds.hold({ ...request(accountId, 100n), callId: charged.id });
  if ('code' in hold) throw new Error(hold.code);
  await hold.capture(closing(7));
  await instance.close();
  const kept = { charged, uncharged: claim('uncharged', true), made: claim('made', false) };
  for (const one of Object.values(kept)) await earlier.take(one, 'asked');
  await new Claims({ sql, owner: { id: 'there', epoch: 1 }, ...times }).take(claim('theirs', true), 'asked');
  await settleClaims(sql, { id: 'here', epoch: 2 });
  const now = new Claims({ sql, owner: { id: 'here', epoch: 2 }, ...times });
  await now.take(claim('uncharged', true), 'another body');
  await expect(now.take(claim('charged', true), 'asked')).rejects.toMatchObject({ code: 'answer_lost' });
  await expect(now.take(claim('made', false), 'asked')).rejects.toMatchObject({ code: 'answer_lost' });
  await expect(now.take(claim('theirs', true), 'asked')).rejects.toMatchObject({ code: 'request_in_progress' });
});

test('a claim that is sent twice, its first answer being lost, is one claim', async () => {
  await using database = await testDatabase();
  const claims = new Claims({ sql: database.sql, owner: { id: 'here', epoch: 1 }, ...times });
  const claim = { id: randomUUID(), isCall: true, place: 'place' };
  await claims.take(claim, 'asked');
  await claims.take(claim, 'asked');
  claims.release(claim);
  await claims.take({ ...claim, id: randomUUID() }, 'asked');
  await claims.close();
});

test('a claim that was given up, and reached the database only after it was released, keeps nobody waiting here', async () => {
  await using database = await testDatabase();
  const late: (() => PromiseLike<unknown>)[] = [];
  const releases: PromiseLike<unknown>[] = [];
  let isLate = true;
  const sql = new Proxy(database.sql, {
    apply: (target, self, args) => {
      const send = () => Reflect.apply(target, self, args) as PromiseLike<unknown>;
      if (!isLate || !String(args[0]).includes('insert')) {
        const sent = send();
        if (String(args[0]).includes('delete')) releases.push(sent);
        return sent;
      }
      late.push(send);
      return new Promise(() => {});
    },
  });
  const claims = new Claims({ sql, owner: { id: 'here', epoch: 1 }, ...times });
  const given = { id: randomUUID(), isCall: true, place: 'place' };
  await expect(claims.take(given, 'asked')).rejects.toMatchObject({ code: 'STATEMENT_LATE' });
  claims.release(given);
  await expect.poll(() => releases.length).toBe(1);
  await Promise.all(releases);
  expect(await database.sql`select 1 from idempotency_claim`).toEqual([]);
  isLate = false;
  for (const send of late) await send();
  expect(await database.sql`select state from idempotency_claim`).toEqual([{ state: 'running' }]);
  await claims.take({ ...given, id: randomUUID() }, 'asked');
  await claims.close();
});
