import { afterEach, beforeEach, expect, test } from 'vitest';
import { type TestDatabase, testDatabase } from '../db/testing.ts';
import { Fleet } from './fleet.ts';
import { Registry } from './registry.ts';

let database: TestDatabase;
let registry: Registry;
const undo: (() => Promise<void>)[] = [];

beforeEach(async () => {
  database = await testDatabase();
  registry = new Registry(database.sql);
  for (const id of ['op_1', 'op_2']) {
    await database.sql`insert into account (id, kind) values (${id}, 'earnings')`;
    await database.sql`insert into operator (id, name, share_ppm) values (${id}, ${id}, 900000)`;
  }
});

afterEach(async () => {
  for (const stop of undo.splice(0)) await stop();
  await database[Symbol.asyncDispose]();
});

const declared = {
  operator: 'op_1',
  url: 'https://gpu.example.com',
  engineKey: 'secret',
  models: [{ id: 'tiny', contextLength: 8192 }],
  country: 'NO',
  region: 'north',
  slots: 4,
};

async function followed(): Promise<Fleet> {
  const fleet = new Fleet({ now: () => 0, random: () => 0 });
  const stop = await registry.follow(fleet, (error) => {
    throw error;
  });
  undo.push(stop);
  return fleet;
}

test('a worker comes back as it was declared, and begins by being verified', async () => {
  const stored = await registry.insert(declared);
  expect(stored).toMatchObject({ ...declared, state: 'verifying', id: expect.stringMatching(/^wrk_[0-9a-f]{32}$/) });
  expect(await registry.find(stored.id)).toEqual(stored);
  expect(await registry.list()).toEqual([stored]);
});

test('an operator sees and changes only its own workers', async () => {
  const { id } = await registry.insert(declared);
  expect(await registry.find(id, 'op_2')).toBe(null);
  expect(await registry.list('op_2')).toEqual([]);
  expect(await registry.drain(id, 'op_2', true)).toBe(null);
  expect(await registry.remove(id, 'op_2')).toBe(false);
  expect(await registry.list('op_1')).toHaveLength(1);
});

test('what a gateway saw never overrules a drain; its end leads back through a check', async () => {
  const { id } = await registry.insert(declared);
  await registry.setState(id, 'active');
  expect((await registry.find(id))?.state).toBe('active');
  expect((await registry.drain(id, 'op_1', false))?.state).toBe('active');
  expect((await registry.drain(id, 'op_1', true))?.state).toBe('draining');
  await registry.setState(id, 'active');
  expect((await registry.find(id))?.state).toBe('draining');
  expect((await registry.drain(id, 'op_1', false))?.state).toBe('verifying');
});

test('a removed worker is gone from every list, but its row stays', async () => {
  const { id } = await registry.insert(declared);
  expect(await registry.remove(id, 'op_1')).toBe(true);
  expect(await registry.remove(id, 'op_1')).toBe(false);
  expect(await registry.find(id)).toBe(null);
  expect(await registry.list()).toEqual([]);
  expect(await database.sql`select id from worker`).toHaveLength(1);
});

test('a fleet has what was stored before, and hears of everything after', async () => {
  const before = await registry.insert(declared);
  const fleet = await followed();
  expect(fleet.all().map(({ record }) => record.id)).toEqual([before.id]);
  const after = await registry.insert({ ...declared, url: 'https://other.example.com' });
  await expect.poll(() => fleet.get(after.id)?.lifecycle).toBe('verifying');
  await registry.setState(after.id, 'active');
  await expect.poll(() => fleet.get(after.id)?.lifecycle).toBe('active');
  await registry.drain(after.id, 'op_1', true);
  await expect.poll(() => fleet.get(after.id)?.lifecycle).toBe('draining');
  await registry.remove(before.id, 'op_1');
  await expect.poll(() => fleet.get(before.id)).toBe(undefined);
});

test('a fleet that lost its connection catches up on what it missed', async () => {
  const fleet = await followed();
  const { sql } = database;
  await sql`select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and query like 'listen%' and pid <> pg_backend_pid()`;
  const { id } = await registry.insert(declared);
  await expect.poll(() => fleet.get(id)?.lifecycle, { timeout: 10_000 }).toBe('verifying');
});
