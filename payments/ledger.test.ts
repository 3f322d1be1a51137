import { expect, test } from 'vitest';
import { testDatabase } from '../db/testing.ts';
import { balances, createAgent, createOperator, deposit, earnings } from './ledger.ts';

test('fifty copies of one deposit, sent at once, move the money once and answer the same txn', async () => {
  await using database = await testDatabase({ max: 20 });
  const { id: accountId } = await createAgent(database.sql, { name: 'agent' });
  const copy = () => deposit(database.sql, { accountId, amount: 700n, reference: 'invoice-1' });
  const answers = await Promise.all(Array.from({ length: 50 }, copy));
  expect(new Set(answers.map((answer) => ('txn' in answer ? answer.txn : answer.code))).size).toBe(1);
  expect(await balances(database.sql, accountId)).toEqual({ prepaid: 700n, escrow: 0n });
});

test('another amount under the same reference is refused; the same reference of another account is its own', async () => {
  await using database = await testDatabase();
  const one = await createAgent(database.sql, { name: 'one' });
  const two = await createAgent(database.sql, { name: 'two' });
  const first = await deposit(database.sql, { accountId: one.id, amount: 5n, reference: 'r' });
  expect(first).toMatchObject({ balance: 5n });
  expect(await deposit(database.sql, { accountId: one.id, amount: 6n, reference: 'r' })).toEqual({
    code: 'reference_conflict',
  });
  expect(await deposit(database.sql, { accountId: two.id, amount: 6n, reference: 'r' })).toMatchObject({ balance: 6n });
});

test('a deposit to nobody is refused and books nothing', async () => {
  await using database = await testDatabase();
  const refusal = await deposit(database.sql, { accountId: 'acct_nobody', amount: 5n, reference: 'r' });
  expect(refusal).toEqual({ code: 'account_not_found' });
});

test('a new operator has earned nothing', async () => {
  await using database = await testDatabase();
  const operator = await createOperator(database.sql, { name: 'operator', sharePpm: 900_000 });
  expect(await earnings(database.sql, operator.id)).toEqual({ earned: 0n, pending: 0n, paid: 0n });
});
