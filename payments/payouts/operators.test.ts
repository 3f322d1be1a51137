import { expect, test } from 'vitest';
import type { Sql } from '../../db/connect.ts';
import { testDatabase } from '../../db/testing.ts';
import { earnings } from '../ledger.ts';
import { settledUntil, statementLines } from '../statements.ts';
import { returnPayout, settlePayout } from './booking.ts';
import { bookOperatorPayout, payableOf } from './operators.ts';
import { booked, earningOperator } from './testing.ts';

const treasury = { network: 'eip155:84532', asset: '0xa55e7', address: '0x7ea5' };
const HOUR = 3_600;

/** Lets all that was posted so far be so much older. */
async function age(sql: Sql, seconds: number): Promise<void> {
  await sql.unsafe('alter table txn disable trigger all; alter table entry disable trigger all');
  const older = (column: string) =>
    `(lpad(to_hex(('x0000' || left(replace(${column}::text, '-', ''), 12))::bit(64)::bigint - ${seconds} * 1000), 12, '0')
      || right(replace(${column}::text, '-', ''), 20))::uuid`;
  await sql.unsafe(`update entry set txn_id = ${older('txn_id')}; update txn set id = ${older('id')}`);
  await sql.unsafe('alter table txn enable trigger all; alter table entry enable trigger all');
}

test('what was earned within the hold-back window is not paid out, what is older is', async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const operatorId = await earningOperator(sql, 50_000, '0x0be7');
  const policy = { holdBackSeconds: HOUR, minimum: 0n };
  const order = { operatorId, reference: 'first' };
  expect(await bookOperatorPayout(sql, treasury, order, policy)).toEqual({ code: 'below_minimum', payable: 0n });
  expect(await payableOf(sql, operatorId, policy)).toEqual({ heldBack: 50_000n, payable: 0n });
  await age(sql, HOUR - 60);
  expect((await payableOf(sql, operatorId, policy)).payable).toBe(0n);
  await age(sql, 120);
  expect(await bookOperatorPayout(sql, treasury, order, policy)).toMatchObject({ amount: 50_000n });
});

test('one reference pays once however often and from wherever it comes, and a second one what came in since', async () => {
  await using database = await testDatabase({ max: 20 });
  const { sql } = database;
  const operatorId = await earningOperator(sql, 70_999, '0x0be7');
  const payouts = await Promise.all(Array.from({ length: 30 }, () => booked(sql, treasury, operatorId)));
  expect(new Set(payouts.map(({ id }) => id)).size).toBe(1);
  expect(payouts[0]?.amount).toBe(70_000n);
  expect(await earnings(sql, operatorId)).toEqual({ earned: 70_999n, pending: 70_999n, paid: 0n });
  const policy = { holdBackSeconds: 0, minimum: 0n };
  const second = await bookOperatorPayout(sql, treasury, { operatorId, reference: 'second' }, policy);
  expect(second).toEqual({ code: 'below_minimum', payable: 999n });
});

test('nobody is paid who has not said where to, and nothing that is not worth its gas', async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const order = (operatorId: string) => ({ operatorId, reference: 'first' });
  const silent = await earningOperator(sql, 5_000, null);
  const policy = { holdBackSeconds: 0, minimum: 6_000n };
  expect(await bookOperatorPayout(sql, treasury, order(silent), policy)).toEqual({ code: 'no_address' });
  const poor = await earningOperator(sql, 5_000, '0x0be7');
  expect(await bookOperatorPayout(sql, treasury, order(poor), policy)).toEqual({
    code: 'below_minimum',
    payable: 5_000n,
  });
  expect(await bookOperatorPayout(sql, treasury, order('op_nobody'), policy)).toEqual({ code: 'no_operator' });
});

test('a payout is either paid or returned: once one is booked, the other moves nothing', async () => {
  await using database = await testDatabase({ max: 20 });
  const { sql } = database;
  for (let round = 0; round < 5; round++) {
    const operatorId = await earningOperator(sql, 8_000, '0x0be7');
    const { id } = await booked(sql, treasury, operatorId);
    const closings = [1, 2, 3].flatMap(() => [settlePayout(sql, id, '0xdeed'), returnPayout(sql, id)]);
    expect((await Promise.all(closings)).filter((isFirst) => isFirst)).toHaveLength(1);
  }
});

test('the statement of an operator leads from its calls to its payouts and their transactions, and the sums agree', async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const operatorId = await earningOperator(sql, 20_500, '0x0be7');
  const first = await booked(sql, treasury, operatorId, 'returned');
  await returnPayout(sql, first.id);
  const second = await booked(sql, treasury, operatorId, 'paid');
  await settlePayout(sql, second.id, '0xdeed');
  await sql`select pg_sleep(0.002)`;
  const [{ now } = { now: '' }] = await sql<{ now: string }[]>`select clock_timestamp()::text as now`;
  await expect.poll(async () => Date.parse(await settledUntil(sql)) > Date.parse(now)).toBe(true);
  const lines = [];
  const period = { accountId: operatorId, from: '1970-01-01T00:00:00.000Z', to: await settledUntil(sql) };
  for await (const some of statementLines(sql, period)) lines.push(...some);
  expect(
    lines.map(({ kind, amount, balance, reference, transaction }) => [kind, amount, balance, reference, transaction]),
  ).toEqual([
    ['opening', 0n, 0n, null, null],
    ['earning', 20_500n, 20_500n, null, null],
    ['payout', -20_000n, 500n, first.id, null],
    ['returned', 20_000n, 20_500n, first.id, null],
    ['payout', -20_000n, 500n, second.id, '0xdeed'],
    ['closing', 0n, 500n, null, null],
  ]);
  const { earned, pending, paid } = await earnings(sql, operatorId);
  expect([earned, pending, paid]).toEqual([20_500n, 500n, 20_000n]);
});
