import { expect, test } from 'vitest';
import type { Sql } from '../../db/connect.ts';
import { testDatabase } from '../../db/testing.ts';
import { balances } from '../ledger.ts';
import { closing, fundedAgent, held, request, testInstance } from '../testing.ts';
import { returnPayout } from './booking.ts';
import { bookWithdrawal } from './withdrawals.ts';

const NETWORK = 'eip155:84532';
const WALLET = '0x70997970c51812dc3a010c7d01b50e0d17dc79c8';
const treasury = { network: NETWORK, asset: '0xa55e7', address: '0x7ea5' };

async function walletAgent(sql: Sql, amount: bigint, network = NETWORK): Promise<string> {
  const accountId = await fundedAgent(sql, amount);
  await sql`insert into wallet (id, account_id) values (${`${network}:${WALLET}`}, ${accountId})`;
  return accountId;
}

const total = ({ prepaid, escrow }: { prepaid: bigint; escrow: bigint }) => prepaid + escrow;

test('T23: a withdrawal goes to the paying wallet alone, in whole units, and the rest stays in the account', async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const accountId = await walletAgent(sql, 1_234_567n);
  const withdrawal = await bookWithdrawal(sql, treasury, { accountId, amount: null, reference: 'all' }, 0n);
  expect(withdrawal).toMatchObject({ payee: WALLET, amount: 1_234_000n, state: 'pending' });
  expect(total(await balances(sql, accountId))).toBe(567n);
});

test('T23: a withdrawal is refused to an account without a wallet on this network, below the minimum, and above what is there', async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const [none, elsewhere] = [await fundedAgent(sql, 9_000n), await walletAgent(sql, 9_000n, 'eip155:8453')];
  for (const accountId of [none, elsewhere, 'acct_nobody', 'world']) {
    expect(await bookWithdrawal(sql, treasury, { accountId, amount: 1_000n, reference: 'a' }, 0n)).toEqual({
      code: 'no_wallet',
    });
  }
  const accountId = await walletAgent(sql, 9_999n);
  const ask = (amount: bigint, minimum = 0n) =>
    bookWithdrawal(sql, treasury, { accountId, amount, reference: 'a' }, minimum);
  expect(await ask(10_000n)).toEqual({ code: 'insufficient_balance', available: 9_999n });
  expect(await ask(8_000n, 9_000n)).toMatchObject({ code: 'below_minimum' });
  expect(await ask(999n)).toMatchObject({ code: 'below_minimum' });
  expect(total(await balances(sql, accountId))).toBe(9_999n);
});

test('T23: fifty copies of one withdrawal at once move the money once, and another amount under its reference is refused', async () => {
  await using database = await testDatabase({ max: 20 });
  const { sql } = database;
  const accountId = await walletAgent(sql, 100_000n);
  const ask = (amount: bigint) => bookWithdrawal(sql, treasury, { accountId, amount, reference: 'one' }, 0n);
  const answers = await Promise.all(Array.from({ length: 50 }, () => ask(30_500n)));
  expect(new Set(answers.map((answer) => ('id' in answer ? answer.id : answer.code))).size).toBe(1);
  expect(total(await balances(sql, accountId))).toBe(70_000n);
  expect(await ask(40_000n)).toEqual({ code: 'reference_conflict' });
});

test('T23: many withdrawals at once never take more than is there', async () => {
  await using database = await testDatabase({ max: 20 });
  const { sql } = database;
  const accountId = await walletAgent(sql, 100_000n);
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, n) =>
      bookWithdrawal(sql, treasury, { accountId, amount: 9_000n, reference: `${n}` }, 0n),
    ),
  );
  expect(answers.filter((answer) => 'id' in answer)).toHaveLength(11);
  expect(total(await balances(sql, accountId))).toBe(1_000n);
});

test('what a call holds is not paid out, what gateways have leased and do not use is', async () => {
  await using database = await testDatabase({ max: 20 });
  const { sql } = database;
  const accountId = await walletAgent(sql, 10_000_000n);
  const [one, other] = [await testInstance(sql, null), await testInstance(sql, null)];
  const hold = await held(one, accountId, 2_000_000n);
  // Gives the other gateway a lease that it does not need any more.
  await (await held(other, accountId, 1_000_000n)).capture(closing(0));
  await other.settler.drain();
  expect((await balances(sql, accountId)).escrow).toBeGreaterThan(3_000_000n);
  const withdrawal = await bookWithdrawal(sql, treasury, { accountId, amount: null, reference: 'all' }, 0n);
  expect(withdrawal).toMatchObject({ amount: 8_000_000n });
  await hold.capture(closing(1_999_999));
  await one.settler.drain();
  expect(total(await balances(sql, accountId))).toBe(1n);
  await one.close();
  await other.close();
});

test('T23: calls and withdrawals that race for the same money never spend it twice', async () => {
  await using database = await testDatabase({ max: 20 });
  const { sql } = database;
  const accountId = await walletAgent(sql, 1_000_000n);
  const instance = await testInstance(sql, null);
  let charged = 0n;
  const call = async () => {
    const hold = await instance.holds.hold(request(accountId, 40_000n));
    if ('code' in hold) return;
    await hold.capture(closing(40_000));
    charged += hold.charged;
  };
  const withdraw = (n: number) => bookWithdrawal(sql, treasury, { accountId, amount: 50_000n, reference: `${n}` }, 0n);
  const [withdrawals] = await Promise.all([
    Promise.all(Array.from({ length: 20 }, (_, n) => withdraw(n))),
    Promise.all(Array.from({ length: 30 }, call)),
  ]);
  await instance.close();
  const withdrawn = withdrawals.reduce((sum, answer) => sum + ('id' in answer ? answer.amount : 0n), 0n);
  expect(charged + withdrawn + total(await balances(sql, accountId))).toBe(1_000_000n);
});

test('a withdrawal comes back to the account when the chain did not carry it out', async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const accountId = await walletAgent(sql, 5_000n);
  const withdrawal = await bookWithdrawal(sql, treasury, { accountId, amount: 5_000n, reference: 'a' }, 0n);
  if ('code' in withdrawal) throw new Error(withdrawal.code);
  expect(await returnPayout(sql, withdrawal.id)).toBe(true);
  expect(total(await balances(sql, accountId))).toBe(5_000n);
});
