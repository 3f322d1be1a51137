import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Sql } from '../db/connect.ts';
import { testDatabase } from '../db/testing.ts';
import { Keyring } from './auth.ts';
import { limits } from './config.ts';
import { createKey, insertKey, revokeKey } from './key-store.ts';
import { mintKey } from './keys.ts';

const adminKey = mintKey('adm', randomBytes);

function keyringOn(sql: Sql): Keyring {
  return new Keyring({ sql, pepper: 'pepper', adminKey, limits, now: () => performance.now() });
}

/** Counts the questions asked of the database. */
function counted(sql: Sql): { sql: Sql; asked: () => number } {
  let asked = 0;
  const spy = new Proxy(sql, {
    apply(target, self, args) {
      asked++;
      return Reflect.apply(target, self, args);
    },
  });
  return { sql: spy, asked: () => asked };
}

/** The code that authenticating this header ends with. */
async function refusal(keyring: Keyring, header: string | undefined, kind: 'agent' | 'operator' | 'admin' = 'agent') {
  try {
    await keyring.authenticate(header, kind);
    return null;
  } catch (error) {
    return error instanceof Error ? { ...error, message: error.message } : error;
  }
}

async function eventually(what: () => Promise<boolean>): Promise<void> {
  const untilMs = performance.now() + 10_000;
  while (!(await what())) {
    if (performance.now() > untilMs) throw new Error('it never came true');
    await sleep(10);
  }
}

test('a known key is proved without a promise and without the database', async () => {
  await using database = await testDatabase();
  const { sql, asked } = counted(database.sql);
  const keyring = keyringOn(sql);
  const { id, key } = await createKey(database.sql, keyring, { ownerId: 'acct_1', kind: 'test', name: null });
  const both = await Promise.all([1, 2].map(() => keyring.authenticate(`Bearer ${key}`, 'agent')));
  expect(both[0]).toMatchObject({ kind: 'agent', keyId: id, ownerId: 'acct_1', test: true });
  expect(keyring.authenticate(`bearer ${key}`, 'agent')).toEqual(both[0]);
  expect(asked()).toBe(1);
});

test('limits are those of the key, or else the defaults', async () => {
  await using database = await testDatabase();
  const keyring = keyringOn(database.sql);
  const { id, key } = await createKey(database.sql, keyring, { ownerId: 'acct_1', kind: 'live', name: 'slow' });
  await database.sql`update api_key set requests_per_minute = 7 where id = ${id}`;
  expect(await keyring.authenticate(`Bearer ${key}`, 'agent')).toMatchObject({
    limits: { requestsPerMinute: 7, tokensPerMinute: limits.tokensPerMinute, openStreams: limits.openStreams },
  });
});

test('a key below others has at most the limits of each of them, whatever its own say', async () => {
  await using database = await testDatabase();
  const keyring = keyringOn(database.sql);
  const own = fc.option(fc.integer({ min: 1, max: 20_000 }));
  const key = fc.record({ requestsPerMinute: own, tokensPerMinute: own, openStreams: own });
  await fc.assert(
    fc.asyncProperty(fc.array(key, { minLength: 1, maxLength: 4 }), async (line) => {
      let parentId: string | null = null;
      let last = '';
      for (const ownLimits of line) {
        const row = { ownerId: 'acct_1', kind: 'live', name: null, parentId, expiresAt: null, ...ownLimits } as const;
        ({ id: parentId, key: last } = await insertKey(database.sql, keyring, row));
      }
      const principal = await keyring.authenticate(`Bearer ${last}`, 'agent');
      expect(principal.ancestors.length).toBe(line.length - 1);
      for (const name of ['requestsPerMinute', 'tokensPerMinute', 'openStreams'] as const) {
        const [root, ...below] = line.map((ownLimits) => ownLimits[name]);
        const given = [root ?? limits[name], ...below].filter((value) => value !== null);
        expect(principal.limits[name]).toBe(Math.min(...given));
      }
    }),
    { numRuns: 30 },
  );
});

test('a key ends when its time, or that of a key above it, is over: also where it is known already', async () => {
  await using database = await testDatabase();
  let nowMs = 0;
  const { sql } = database;
  const keyring = new Keyring({ sql, pepper: 'pepper', adminKey, limits, now: () => nowMs });
  const unlimited = { requestsPerMinute: null, tokensPerMinute: null, openStreams: null };
  const row = { ownerId: 'acct_1', kind: 'live', name: null, ...unlimited } as const;
  const [{ soon } = { soon: '' }] = await sql<{ soon: string }[]>`select (now() + interval '5 seconds')::text as soon`;
  const parent = await insertKey(sql, keyring, { ...row, parentId: null, expiresAt: soon });
  const child = await insertKey(sql, keyring, { ...row, parentId: parent.id, expiresAt: null });
  for (const { key } of [parent, child]) expect(await refusal(keyring, `Bearer ${key}`)).toBeNull();
  nowMs = 6_000;
  await sql`update api_key set expires_at = now() where id = ${parent.id}`;
  for (const { key } of [parent, child]) {
    expect(await refusal(keyring, `Bearer ${key}`)).toMatchObject({ code: 'invalid_api_key' });
  }
});

test('junk and mistyped keys are refused without asking the database, with the same answer as unknown keys', async () => {
  await using database = await testDatabase();
  const { sql, asked } = counted(database.sql);
  const keyring = keyringOn(sql);
  const unknown = mintKey('live', randomBytes);
  const mistyped = unknown.slice(0, -1) + (unknown.endsWith('0') ? '1' : '0');
  const wrong = [
    undefined,
    '',
    'Bearer ',
    'Basic eDp5',
    'Bearer sk-123',
    `Bearer ${mistyped}`,
    `Bearer ${unknown} x`,
    unknown,
  ];
  const answers = await Promise.all(wrong.map((header) => refusal(keyring, header)));
  expect(asked()).toBe(0);
  const unknownAnswer = await refusal(keyring, `Bearer ${unknown}`);
  expect(unknownAnswer).toMatchObject({ code: 'invalid_api_key', status: 401 });
  for (const answer of answers) expect(answer).toEqual(unknownAnswer);
  await refusal(keyring, `Bearer ${unknown}`);
  expect(asked()).toBe(1);
});

test('a key of one kind is forbidden where another kind is needed', async () => {
  await using database = await testDatabase();
  const keyring = keyringOn(database.sql);
  const agent = await createKey(database.sql, keyring, { ownerId: 'acct_1', kind: 'live', name: null });
  const operator = await createKey(database.sql, keyring, { ownerId: 'op_1', kind: 'operator', name: null });
  expect(await keyring.authenticate(`Bearer ${operator.key}`, 'operator')).toMatchObject({ ownerId: 'op_1' });
  expect(await keyring.authenticate(`Bearer ${adminKey}`, 'admin')).toMatchObject({ kind: 'admin' });
  const forbidden = { code: 'forbidden', status: 403 };
  expect(await refusal(keyring, `Bearer ${agent.key}`, 'admin')).toMatchObject(forbidden);
  expect(await refusal(keyring, `Bearer ${agent.key}`, 'operator')).toMatchObject(forbidden);
  expect(await refusal(keyring, `Bearer ${operator.key}`, 'agent')).toMatchObject(forbidden);
  expect(await refusal(keyring, `Bearer ${adminKey}`, 'agent')).toMatchObject(forbidden);
  const otherAdmin = `Bearer ${mintKey('adm', randomBytes)}`;
  expect(await refusal(keyring, otherAdmin, 'admin')).toMatchObject({ code: 'invalid_api_key' });
});

test('a revoked key stops working in every gateway that watches', async () => {
  await using database = await testDatabase();
  const keyrings = [keyringOn(database.sql), keyringOn(database.sql)];
  const stops = await Promise.all(keyrings.map((keyring) => keyring.watch()));
  const [first] = keyrings;
  if (first === undefined) throw new Error('unreachable');
  const { id, key } = await createKey(database.sql, first, { ownerId: 'acct_1', kind: 'live', name: null });
  for (const keyring of keyrings) expect(await refusal(keyring, `Bearer ${key}`)).toBeNull();
  expect(await revokeKey(database.sql, id)).toBe(true);
  expect(await revokeKey(database.sql, id)).toBe(true);
  expect(await revokeKey(database.sql, 'key_none')).toBe(false);
  for (const keyring of keyrings) {
    await eventually(async () => (await refusal(keyring, `Bearer ${key}`)) !== null);
  }
  for (const stop of stops) await stop();
});

test('a revocation that no notification told of is found by the poll, and lost connections are listened on again', async () => {
  await using database = await testDatabase();
  const keyring = keyringOn(database.sql);
  const stop = await keyring.watch();
  const silent = await createKey(database.sql, keyring, { ownerId: 'acct_1', kind: 'live', name: null });
  const told = await createKey(database.sql, keyring, { ownerId: 'acct_1', kind: 'live', name: null });
  expect(await refusal(keyring, `Bearer ${silent.key}`)).toBeNull();
  expect(await refusal(keyring, `Bearer ${told.key}`)).toBeNull();
  await database.sql`update api_key set revoked_at = now() where id = ${silent.id}`;
  await eventually(async () => (await refusal(keyring, `Bearer ${silent.key}`)) !== null);
  await database.sql`
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and query like 'listen%' and pid <> pg_backend_pid()`;
  await revokeKey(database.sql, told.id);
  await eventually(async () => (await refusal(keyring, `Bearer ${told.key}`)) !== null);
  await stop();
});

test('without the database known keys go on and unknown ones are told to ask again', async () => {
  await using database = await testDatabase();
  let away = false;
  const sql = new Proxy(database.sql, {
    apply: (target, self, args) => (away ? Promise.reject(new Error('away')) : Reflect.apply(target, self, args)),
  });
  const keyring = keyringOn(sql);
  const { key } = await createKey(database.sql, keyring, { ownerId: 'acct_1', kind: 'live', name: null });
  expect(await refusal(keyring, `Bearer ${key}`)).toBeNull();
  away = true;
  expect(await refusal(keyring, `Bearer ${key}`)).toBeNull();
  expect(await refusal(keyring, `Bearer ${mintKey('live', randomBytes)}`)).toMatchObject({
    code: 'ledger_unavailable',
  });
});

test('a gateway that cannot watch asks again after a while', async () => {
  await using database = await testDatabase();
  let nowMs = 0;
  const keyring = new Keyring({ sql: database.sql, pepper: 'pepper', adminKey, limits, now: () => nowMs });
  const { id, key } = await createKey(database.sql, keyring, { ownerId: 'acct_1', kind: 'live', name: null });
  expect(await refusal(keyring, `Bearer ${key}`)).toBeNull();
  await revokeKey(database.sql, id);
  expect(await refusal(keyring, `Bearer ${key}`)).toBeNull();
  nowMs = 11_000;
  expect(await refusal(keyring, `Bearer ${key}`)).toMatchObject({ code: 'invalid_api_key' });
});
