import { expect, test } from 'vitest';
import type { LocalWallet } from '../chain/local.ts';
import { startFaultyRpc } from '../chain/testing-rpc.ts';
import type { Authorization } from './authorization.ts';
import { EntrustedDeposits } from './entrusted.ts';
import { Evm } from './evm.ts';
import type { Funded, PaymentRefusal } from './method.ts';
import * as rows from './payment-rows.ts';
import { type PaymentSite, startPaymentSite } from './testing.ts';

const UNITS = 2_000_000n;
const NANOUSD = 2_000_000_000n;

/** A gateway without keys. */
function keyless({ database: { sql }, chain }: PaymentSite, limits: { waitMs?: number; atOncePerPayer?: number } = {}) {
  const evm = new Evm(chain.network, [chain.url]);
  const log = { warn: () => {} };
  return new EntrustedDeposits({ sql, evm, log, waitMs: 5_000, atOnce: 64, atOncePerPayer: 32, ...limits });
}

function codeOf(outcome: Funded | PaymentRefusal): string {
  return 'code' in outcome ? outcome.code : 'funded';
}

/** A payment that nobody with keys has heard of. */
async function entrusted(site: PaymentSite): Promise<{ payer: LocalWallet; authorization: Authorization }> {
  const payer = await site.chain.wallet({ usdc: UNITS });
  const authorization = await site.authorize(payer, UNITS);
  expect(codeOf(await keyless(site, { waitMs: 30 }).fund('x402', authorization, null))).toBe('unknown');
  expect(await site.states()).toEqual(['settling']);
  return { payer, authorization };
}

test('a payment reserved without keys is settled by whoever has them, and funds the one who waits', async () => {
  await using site = await startPaymentSite();
  const payer = await site.chain.wallet({ usdc: UNITS });
  const waiting = keyless(site).fund('x402', await site.authorize(payer, UNITS), null);
  await expect.poll(() => site.states()).toEqual(['settling']);
  await site.open().deposits.settleEntrusted();
  expect(await waiting).toMatchObject({ amount: NANOUSD });
  expect(await site.balance(payer)).toBe(NANOUSD);
});

test('with nobody to settle it a payment is pending and not failed; later it is settled, and lets one call in', async () => {
  await using site = await startPaymentSite();
  const { payer, authorization } = await entrusted(site);
  const { deposits } = site.open();
  // Nobody has sent it yet: what the chain does not know of it says nothing.
  await deposits.reconcile(0);
  expect(await site.states()).toEqual(['settling']);
  await deposits.settleEntrusted();
  const asked = await Promise.all([1, 2, 3].map(() => keyless(site).fund('x402', authorization, null)));
  expect(asked.map(codeOf).toSorted()).toEqual(['funded', 'used', 'used']);
  expect(await site.balance(payer)).toBe(NANOUSD);
});

test('of three gateways that settle one at once, one sends it, and it is credited once', async () => {
  await using site = await startPaymentSite();
  const { payer } = await entrusted(site);
  await Promise.all([site.open(), site.open(), site.open()].map(({ deposits }) => deposits.settleEntrusted()));
  expect(await site.balance(payer)).toBe(NANOUSD);
  expect(await site.database.sql`select from chain_transaction`).toHaveLength(1);
  expect(await site.chain.usdcOf(site.treasury.address)).toBe(UNITS);
});

test('one that was taken by a gateway which then stopped is taken by another, and sent once', async () => {
  await using site = await startPaymentSite();
  const { payer } = await entrusted(site);
  const { sql } = site.database;
  const of = { network: site.chain.network.id, payee: site.treasury.address, most: 10 };
  expect(await rows.takeEntrusted(sql, of)).toHaveLength(1);
  expect(await rows.takeEntrusted(sql, of)).toHaveLength(0);
  await sql`update payment set send_at = send_at - interval '16 seconds'`;
  await site.open().deposits.settleEntrusted();
  expect(await site.balance(payer)).toBe(NANOUSD);
});

test('while the chain is out of reach of those with keys it waits for them, and is not lost', async () => {
  await using site = await startPaymentSite();
  await using rpc = await startFaultyRpc(site.chain.url);
  const { payer } = await entrusted(site);
  rpc.away = true;
  const { deposits } = site.open({ rpcUrls: [rpc.url] });
  await deposits.settleEntrusted();
  expect(await site.states()).toEqual(['settling']);
  rpc.away = false;
  await site.database.sql`update payment set send_at = now()`;
  await deposits.settleEntrusted();
  expect(await site.balance(payer)).toBe(NANOUSD);
});

test('what pays another address than that of the gateway with keys is never sent by it', async () => {
  await using site = await startPaymentSite();
  const { payer } = await entrusted(site);
  const stranger = await site.chain.wallet({ wei: 0n });
  await site.open({ payTo: stranger.address }).deposits.settleEntrusted();
  expect(await site.states()).toEqual(['settling']);
  expect(await site.chain.usdcOf(payer.address)).toBe(UNITS);
});

test('a transfer that fails on the chain is told to the one who waits, who may pay anew', async () => {
  await using site = await startPaymentSite();
  const payer = await site.chain.wallet({ usdc: UNITS });
  const waiting = keyless(site).fund('x402', await site.authorize(payer, UNITS), null);
  await expect.poll(() => site.states()).toEqual(['settling']);
  await site.chain.refuse(payer.address);
  await site.open().deposits.settleEntrusted();
  expect(codeOf(await waiting)).toBe('invalid');
  expect(await site.balance(payer)).toBeNull();
});

test('T21: whoever floods a gateway without keys is told to wait, by what is on its way in the database', async () => {
  await using site = await startPaymentSite();
  const payer = await site.chain.wallet({ usdc: 4n * UNITS });
  const other = await site.chain.wallet({ usdc: UNITS });
  const limits = { waitMs: 30, atOncePerPayer: 2 };
  const codes: string[] = [];
  for (const wallet of [payer, payer, payer, other])
    codes.push(codeOf(await keyless(site, limits).fund('x402', await site.authorize(wallet, UNITS), null)));
  expect(codes).toEqual(['unknown', 'unknown', 'unavailable', 'unknown']);
});
