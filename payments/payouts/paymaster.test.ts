import { expect, test } from 'vitest';
import { testDatabase } from '../../db/testing.ts';
import { startLocalChain } from '../chain/local.ts';
import { MULTICALL3 } from '../chain/networks.ts';
import { earnings } from '../ledger.ts';
import { getPayout } from './booking.ts';
import { batchCall, signPayout } from './calls.ts';
import { booked, earningOperator, testPaymaster, treasuryOf } from './testing.ts';

async function world(units: bigint) {
  const chain = await startLocalChain();
  const database = await testDatabase({ max: 10 });
  const treasury = await chain.wallet({ usdc: units, wei: 0n });
  const payers = [await chain.wallet()];
  return {
    chain,
    sql: database.sql,
    treasury,
    payers,
    source: treasuryOf(chain, treasury),
    [Symbol.asyncDispose]: async () => {
      await chain.stop();
      await database[Symbol.asyncDispose]();
    },
  };
}

test('an operator gets what it earned in whole units, and the rest stays earned', async () => {
  await using all = await world(5_000_000n);
  const { chain, sql, source } = all;
  const wallet = await chain.wallet({ wei: 0n });
  const operator = await earningOperator(sql, 1_234_567, wallet.address);
  const payout = await booked(sql, source, operator);
  expect(await earnings(sql, operator)).toEqual({ earned: 1_234_567n, pending: 1_234_567n, paid: 0n });
  await testPaymaster(all).finish();
  expect(await chain.usdcOf(wallet.address)).toBe(1_234n);
  expect(await chain.usdcOf(all.treasury.address)).toBe(5_000_000n - 1_234n);
  expect(await earnings(sql, operator)).toEqual({ earned: 1_234_567n, pending: 567n, paid: 1_234_000n });
  const paid = await getPayout(sql, operator, payout.id);
  expect(paid).toMatchObject({ state: 'paid', amount: 1_234_000n, reason: null });
  const receipt = await chain.client.getTransactionReceipt({ hash: paid?.transaction as `0x${string}` });
  expect(receipt.status).toBe('success');
});

test('many payouts go in one transaction, and each is told its own', async () => {
  await using all = await world(50_000_000n);
  const { chain, sql, source } = all;
  const wallet = await chain.wallet({ wei: 0n });
  const payouts = [];
  // Two of them alike in all but their id: the proof of one must not pass for the other.
  for (const amount of [3_000, 3_000, 4_000, 5_000, 6_000]) {
    payouts.push(await booked(sql, source, await earningOperator(sql, amount, wallet.address)));
  }
  await testPaymaster(all).finish();
  expect(await chain.usdcOf(wallet.address)).toBe(21n);
  const hashes = await Promise.all(payouts.map(async ({ accountId, id }) => getPayout(sql, accountId, id)));
  expect(new Set(hashes.map((payout) => payout?.transaction)).size).toBe(1);
});

test('who cannot be paid holds up nobody, costs no gas, is told why, and has its money back when its time is over', async () => {
  await using all = await world(50_000_000n);
  const { chain, sql, source } = all;
  const [refused, other] = [await chain.wallet({ wei: 0n }), await chain.wallet({ wei: 0n })];
  await chain.refuse(refused.address);
  const unlucky = await earningOperator(sql, 7_000, refused.address);
  const lucky = await earningOperator(sql, 8_000, other.address);
  const stuck = await booked(sql, source, unlucky);
  const { paymaster, finish } = testPaymaster(all);
  await paymaster.round();
  // Alone it would be a transaction that moves nothing.
  expect(await chain.client.getBlockNumber()).toBe(0n);
  await booked(sql, source, lucky);
  for (let rounds = 3; rounds > 0; rounds--) await paymaster.round();
  expect(await chain.usdcOf(other.address)).toBe(8n);
  expect(await getPayout(sql, unlucky, stuck.id)).toMatchObject({
    state: 'pending',
    reason: 'Blacklistable: account is blacklisted',
  });
  await chain.client.increaseTime({ seconds: 3_700 });
  await chain.client.mine({ blocks: 1 });
  await finish();
  expect(await getPayout(sql, unlucky, stuck.id)).toMatchObject({ state: 'returned', transaction: null });
  expect(await earnings(sql, unlucky)).toEqual({ earned: 7_000n, pending: 7_000n, paid: 0n });
  expect(await chain.usdcOf(refused.address)).toBe(0n);
});

test('a treasury without money pays nobody, and pays all once it has some', async () => {
  await using all = await world(0n);
  const { chain, sql, source } = all;
  const wallet = await chain.wallet({ wei: 0n });
  const operator = await earningOperator(sql, 9_000, wallet.address);
  const payout = await booked(sql, source, operator);
  const { paymaster, finish } = testPaymaster(all);
  await paymaster.round();
  expect((await getPayout(sql, operator, payout.id))?.reason).toBe('ERC20: transfer amount exceeds balance');
  await chain.fund(all.treasury.address, 9n);
  await finish();
  expect(await chain.usdcOf(wallet.address)).toBe(9n);
});

test('T27: a batch that is replayed moves nothing more', async () => {
  await using all = await world(50_000_000n);
  const { chain, sql, source, treasury } = all;
  const wallet = await chain.wallet({ wei: 0n });
  const payout = await booked(sql, source, await earningOperator(sql, 10_000, wallet.address));
  await testPaymaster(all).finish();
  const stranger = await chain.wallet();
  const signed = await signPayout(treasury.account, chain.network, { ...payout, sinceBlock: null });
  const data = batchCall(chain.network, [signed, signed]);
  const hash = await chain.client.sendTransaction({ account: stranger.account, to: MULTICALL3, data, gas: 500_000n });
  expect((await chain.client.waitForTransactionReceipt({ hash })).status).toBe('success');
  expect(await chain.usdcOf(wallet.address)).toBe(10n);
});

test('a payout that a stranger carried out first counts as paid, once', async () => {
  await using all = await world(50_000_000n);
  const { chain, sql, source, treasury } = all;
  const wallet = await chain.wallet({ wei: 0n });
  const operator = await earningOperator(sql, 11_000, wallet.address);
  const payout = await booked(sql, source, operator);
  const { paymaster, finish } = testPaymaster({ ...all, retryMs: 0 });
  await chain.client.setAutomine(false);
  await paymaster.round();
  const stranger = await chain.wallet();
  const { callData: data } = await signPayout(treasury.account, chain.network, { ...payout, sinceBlock: null });
  const to = chain.network.usdc.address;
  const dear = { maxFeePerGas: 10n ** 12n, maxPriorityFeePerGas: 10n ** 11n };
  const hash = await chain.client.sendTransaction({ account: stranger.account, to, data, gas: 200_000n, ...dear });
  await chain.client.mine({ blocks: 1 });
  await finish();
  expect(await getPayout(sql, operator, payout.id)).toMatchObject({ state: 'paid', transaction: hash });
  expect(await chain.usdcOf(wallet.address)).toBe(11n);
});
