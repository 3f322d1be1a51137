/** Blocks that are taken back before a payment in them is as deep as configured. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { LocalWallet } from '../chain/local.ts';
import type { OwnPayments } from './open.ts';
import { type PaymentSite, startPaymentSite } from './testing.ts';

const UNITS = 2_000_000n;
const NANOUSD = 2_000_000_000n;

/** A payment whose transfer is in the newest block; three blocks are to hold it. */
async function inOneBlock(site: PaymentSite, payer: LocalWallet) {
  const payments = site.open({ depositConfirmations: 3n, waitMs: 15_000 });
  await site.chain.client.setAutomine(false);
  await site.chain.client.mine({ blocks: 3 });
  const funded = payments.deposits.fund('x402', await site.authorize(payer, UNITS), null);
  await expect.poll(async () => (await site.chain.client.getTxpoolStatus()).pending).toBe(1);
  await site.chain.client.mine({ blocks: 1 });
  expect(await site.chain.usdcOf(site.treasury.address)).toBe(UNITS);
  return { payments, funded };
}

/** Takes the newest block back, with all that happened in it. */
async function takeBack(site: PaymentSite): Promise<void> {
  await site.chain.client.request({ method: 'anvil_rollback', params: [1] } as never);
  expect(await site.chain.usdcOf(site.treasury.address)).toBe(0n);
}

/** Tends until what was lost with its block is with a node again. */
async function sentAgain(site: PaymentSite, { sender }: OwnPayments): Promise<void> {
  const pending = async () => {
    await sender.tendOnce();
    return (await site.chain.client.getTxpoolStatus()).pending;
  };
  await expect.poll(pending, { timeout: 10_000, interval: 200 }).toBe(1);
}

test('a payment is credited when as many blocks hold it as the host demands, and not before', async () => {
  await using site = await startPaymentSite();
  const payer = await site.chain.wallet({ usdc: UNITS });
  const { payments, funded } = await inOneBlock(site, payer);
  for (let above = 0; above < 2; above++) {
    await sleep(400);
    await payments.deposits.reconcile(0);
    expect(await site.balance(payer)).toBeNull();
    await site.chain.client.mine({ blocks: 1 });
  }
  expect(await funded).toMatchObject({ amount: NANOUSD });
  expect(await site.balance(payer)).toBe(NANOUSD);
});

test('money whose block is taken back, and which its payer then spends elsewhere, was never credited and is not later', async () => {
  await using site = await startPaymentSite();
  const payer = await site.chain.wallet({ usdc: UNITS });
  const { payments, funded } = await inOneBlock(site, payer);
  await payments.sender.tendOnce();
  await takeBack(site);
  await site.chain.fund(payer.address, 0n);
  await sentAgain(site, payments);
  await site.chain.client.mine({ blocks: 5 });
  expect(await funded).toMatchObject({ code: 'invalid' });
  expect(await site.balance(payer)).toBeNull();
  expect(await site.chain.usdcOf(site.treasury.address)).toBe(0n);
});

test('a transfer whose block is taken back is sent again, though it counted as mined, and credited once', async () => {
  await using site = await startPaymentSite();
  const payer = await site.chain.wallet({ usdc: UNITS });
  const { payments, funded } = await inOneBlock(site, payer);
  await payments.sender.tendOnce();
  const { sql } = site.database;
  expect(await sql`select state from chain_transaction`).toEqual([{ state: 'mined' }]);
  await takeBack(site);
  await sentAgain(site, payments);
  await site.chain.client.mine({ blocks: 3 });
  expect(await funded).toMatchObject({ amount: NANOUSD });
  await payments.deposits.reconcile(0);
  expect(await site.balance(payer)).toBe(NANOUSD);
  expect(await site.chain.usdcOf(site.treasury.address)).toBe(UNITS);
});

test('an authorization does not count as ended while its transfer is on the way to being deep enough', async () => {
  await using site = await startPaymentSite();
  const payer = await site.chain.wallet({ usdc: UNITS });
  const { payments, funded } = await inOneBlock(site, payer);
  // Its end is long over by the clock of the newest block, in which it is not.
  await site.chain.client.increaseTime({ seconds: 900 });
  await site.chain.client.mine({ blocks: 1 });
  await payments.deposits.reconcile(0);
  expect(await site.states()).not.toContain('failed');
  await site.chain.client.mine({ blocks: 1 });
  expect(await funded).toMatchObject({ amount: NANOUSD });
});
