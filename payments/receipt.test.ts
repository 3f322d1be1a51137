import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose';
import { expect, test } from 'vitest';
import type { Sql } from '../db/connect.ts';
import { testDatabase } from '../db/testing.ts';
import { type CallRow, callJson, createdAtMs, getCall, listCalls } from './calls.ts';
import { jwks, rotate, signReceipt } from './receipt.ts';
import { closing, fundedAgent, held, testInstance } from './testing.ts';

const ISSUER = 'https://gateway.example';

/** An agent with this many settled calls, oldest first. */
async function settledCalls(sql: Sql, count: number): Promise<{ accountId: string; ids: string[] }> {
  const accountId = await fundedAgent(sql, 10_000n);
  const instance = await testInstance(sql, null);
  const ids: string[] = [];
  for (let i = 0; i < count; i++) {
    const hold = await held(instance, accountId, 100n);
    ids.push(hold.callId);
    await hold.capture(closing(i));
  }
  await instance.close();
  return { accountId, ids };
}

async function settledCall(sql: Sql): Promise<CallRow> {
  const { accountId, ids } = await settledCalls(sql, 1);
  const call = await getCall(sql, accountId, ids[0] ?? '');
  if (call === undefined) throw new Error('the call is not there');
  return call;
}

test('a receipt verifies with the published keys and says all that the call says', async () => {
  await using database = await testDatabase();
  const call = await settledCall(database.sql);
  const receipt = await signReceipt(database.sql, call, ISSUER);
  const { payload } = await jwtVerify(receipt, createLocalJWKSet(await jwks(database.sql)), { issuer: ISSUER });
  expect(payload).toMatchObject({ iss: ISSUER, sub: call.accountId, jti: call.id, ...callJson(call) });
  expect(payload).toMatchObject({ charged_nanousd: '0', held_nanousd: '100', outcome: 'complete' });
});

test('a rotated key signs once verifiers had a minute to learn of it, and old receipts still verify; no private half is published', async () => {
  await using database = await testDatabase();
  const call = await settledCall(database.sql);
  const old = await signReceipt(database.sql, call, ISSUER);
  const kid = await rotate(database.sql);
  const early = await signReceipt(database.sql, call, ISSUER);
  expect(decodeProtectedHeader(early).kid).not.toBe(kid);
  await database.sql`update signing_key set created_at = created_at - interval '1 minute'`;
  const fresh = await signReceipt(database.sql, call, ISSUER);
  expect(decodeProtectedHeader(fresh)).toMatchObject({ alg: 'EdDSA', kid });
  expect(decodeProtectedHeader(old).kid).not.toBe(kid);
  const published = await jwks(database.sql);
  for (const receipt of [old, fresh]) await jwtVerify(receipt, createLocalJWKSet(published));
  expect(published.keys).toHaveLength(2);
  for (const key of published.keys) expect(Object.keys(key).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x']);
});

test('gateways that need the first key at the same time make one', async () => {
  await using database = await testDatabase();
  const call = await settledCall(database.sql);
  await Promise.all(Array.from({ length: 8 }, () => signReceipt(database.sql, call, ISSUER)));
  expect((await jwks(database.sql)).keys).toHaveLength(1);
});

test('a changed receipt does not verify', async () => {
  await using database = await testDatabase();
  const call = await settledCall(database.sql);
  const [header = '', payload = '', signature = ''] = (await signReceipt(database.sql, call, ISSUER)).split('.');
  const changed = Buffer.from(JSON.stringify({ ...decodeJwt(`${header}.${payload}.`), charged_nanousd: '7' }));
  const forged = [header, changed.toString('base64url'), signature].join('.');
  await expect(jwtVerify(forged, createLocalJWKSet(await jwks(database.sql)))).rejects.toThrow();
});

test('an agent sees its own calls page by page, newest first, each with the time of its id', async () => {
  await using database = await testDatabase();
  const startMs = Date.now();
  const { accountId, ids } = await settledCalls(database.sql, 5);
  const stranger = await fundedAgent(database.sql, 1n);
  const newest = await listCalls(database.sql, accountId, { limit: 3, after: null });
  const rest = await listCalls(database.sql, accountId, { limit: 3, after: newest.calls[2]?.id ?? null });
  expect([...newest.calls, ...rest.calls].map(({ id }) => id)).toEqual(ids.toReversed());
  expect([newest.hasMore, rest.hasMore]).toEqual([true, false]);
  expect(createdAtMs(ids[0] ?? '')).toBeGreaterThanOrEqual(startMs);
  expect(createdAtMs(ids[0] ?? '')).toBeLessThanOrEqual(Date.now());
  expect(await getCall(database.sql, stranger, ids[0] ?? '')).toBeUndefined();
});
