import { expect, test } from 'vitest';
import { startFaultyRpc } from '../chain/testing-rpc.ts';
import { Deposits } from './deposits.ts';
import type { Funded, PaymentRefusal } from './method.ts';
import { ownSettlement, type Settlement } from './settlement.ts';
import { startPaymentSite } from './testing.ts';

const UNITS = 2_000_000n;
const NANOUSD = 2_000_000_000n;

function codeOf(outcome: Funded | PaymentRefusal): string {
  return 'code' in outcome ? outcome.code : 'funded';
}

test('T2: two gateways given one payment at once settle it once, and a third after a restart knows that it was used', async () => {
  await using site = await startPaymentSite();
  const payer = await site.chain.wallet({ usdc: UNITS });
  const authorization = await site.authorize(payer, UNITS);
  const gateways = [site.open(), site.open()];
  const outcomes = await Promise.all(gateways.map(({ deposits }) => deposits.fund('x402', authorization, null)));
  expect(outcomes.map(codeOf).filter((code) => code === 'funded')).toHaveLength(1);
  expect(codeOf(await site.open().deposits.fund('mpp', authorization, null))).toBe('used');
  expect(await site.balance(payer)).toBe(NANOUSD);
  expect(await site.states()).toEqual(['settled']);
});

test('T2: a payment that failed is not taken again', async () => {
  await using site = await startPaymentSite();
  const payer = await site.chain.wallet({ usdc: UNITS - 1n });
  const authorization = await site.authorize(payer, UNITS);
  const { deposits } = site.open();
  expect(codeOf(await deposits.fund('x402', authorization, null))).toBe('invalid');
  await site.chain.wallet({ usdc: UNITS });
  expect(codeOf(await deposits.fund('x402', authorization, null))).toBe('invalid');
  expect(await site.states()).toEqual(['failed']);
});

test('another form of the same signature does not pay a second time', async () => {
  await using site = await startPaymentSite();
  const payer = await site.chain.wallet({ usdc: 2n * UNITS });
  const authorization = await site.authorize(payer, UNITS);
  const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
  const [r, s, v] = [
    authorization.signature.slice(2, 66),
    authorization.signature.slice(66, 130),
    authorization.signature.slice(130),
  ];
  const mirrored = (order - BigInt(`0x${s}`)).toString(16).padStart(64, '0');
  const twin = { ...authorization, signature: `0x${r}${mirrored}${v === '1b' ? '1c' : '1b'}` as const };
  const { deposits } = site.open();
  const outcomes = await Promise.all([authorization, twin].map((one) => deposits.fund('x402', one, null)));
  expect(outcomes.map(codeOf).filter((code) => code === 'funded')).toHaveLength(1);
  expect(await site.balance(payer)).toBe(NANOUSD);
  expect(await site.chain.usdcOf(site.treasury.address)).toBe(UNITS);
});

test('T4: a payer whose wallet is empty when its transfer is mined is refused, and nothing is credited', async () => {
  await using site = await startPaymentSite();
  const payer = await site.chain.wallet({ usdc: UNITS });
  await site.chain.client.setAutomine(false);
  const authorization = await site.authorize(payer, UNITS);
  const waiting = site.open().deposits.fund('x402', authorization, null);
  await expect.poll(async () => (await site.chain.client.getTxpoolStatus()).pending).toBe(1);
  await site.chain.refuse(payer.address);
  await site.chain.client.mine({ blocks: 1 });
  expect(codeOf(await waiting)).toBe('invalid');
  expect(await site.balance(payer)).toBeNull();
});

test('T7: a transfer that is not seen in time is unknown, not failed, and is credited when it is', async () => {
  await using site = await startPaymentSite();
  const payer = await site.chain.wallet({ usdc: UNITS });
  await site.chain.client.setAutomine(false);
  const authorization = await site.authorize(payer, UNITS);
  const { deposits } = site.open({ waitMs: 100 });
  expect(codeOf(await deposits.fund('x402', authorization, null))).toBe('unknown');
  expect(codeOf(await deposits.fund('x402', authorization, null))).toBe('unknown');
  expect(await site.states()).toEqual(['unknown']);
  await site.chain.client.mine({ blocks: 1 });
  // Whoever comes back with the same payment has the call that it paid for, once.
  const outcomes = [await deposits.fund('x402', authorization, null), await deposits.fund('x402', authorization, null)];
  expect(outcomes.map(codeOf)).toEqual(['funded', 'used']);
  expect(await site.balance(payer)).toBe(NANOUSD);
});

test('T7: an authorization that ends unused fails then, and not before', async () => {
  await using site = await startPaymentSite();
  const payer = await site.chain.wallet({ usdc: UNITS });
  const authorization = await site.authorize(payer, UNITS);
  const { deposits } = site.open({ waitMs: 50, facilitator: { url: 'http://127.0.0.1:9', key: null } });
  expect(codeOf(await deposits.fund('x402', authorization, null))).toBe('unknown');
  await deposits.reconcile(0);
  expect(await site.states()).toEqual(['unknown']);
  await site.chain.client.increaseTime({ seconds: 600 });
  await site.chain.client.mine({ blocks: 1 });
  await deposits.reconcile(0);
  expect(await site.states()).toEqual(['failed']);
});

test('T8: a gateway that stops after it sent the transfer loses nothing: the next ones credit it once', async () => {
  await using site = await startPaymentSite();
  const payer = await site.chain.wallet({ usdc: UNITS });
  const first = site.open();
  const never = Promise.withResolvers<never>();
  const stopped: Settlement = {
    isDecisive: true,
    send: async (id, authorization) => {
      await ownSettlement(first.evm, first.sender).send(id, authorization);
      return never.promise;
    },
  };
  const { sql } = site.database;
  const limits = { waitMs: 100, atOnce: 8, atOncePerPayer: 8, log: { warn: () => {} } };
  const payTo = site.treasury.address;
  const dying = new Deposits({ sql, evm: first.evm, settlement: stopped, payTo, ...limits });
  void dying.fund('x402', await site.authorize(payer, UNITS), null);
  await expect.poll(() => site.chain.usdcOf(site.treasury.address)).toBe(UNITS);
  expect(await site.states()).toEqual(['settling']);
  await Promise.all([site.open(), site.open(), site.open()].map(({ deposits }) => deposits.reconcile(0)));
  expect(await site.states()).toEqual(['settled']);
  expect(await site.balance(payer)).toBe(NANOUSD);
});

test('T8: a gateway that stops before it sent anything leaves a payment that fails', async () => {
  await using site = await startPaymentSite();
  const payer = await site.chain.wallet({ usdc: UNITS });
  const authorization = await site.authorize(payer, UNITS);
  const { sql } = site.database;
  const { reserve } = await import('./payment-rows.ts');
  const { paymentId } = await import('./authorization.ts');
  const { id: network, usdc } = site.chain.network;
  const id = paymentId(network, usdc.address, authorization);
  const payerId = `${network}:${payer.address.toLowerCase()}`;
  await reserve(sql, {
    id,
    method: 'x402',
    network,
    asset: usdc.address,
    payer: payerId,
    authorization,
    nanousd: NANOUSD,
    accountId: null,
  });
  await site.open().deposits.reconcile(0);
  expect(await site.states()).toEqual(['failed']);
});

test('T9: a transaction that succeeds without moving the money credits nothing', async () => {
  await using site = await startPaymentSite();
  const payer = await site.chain.wallet({ usdc: UNITS });
  const authorization = await site.authorize(payer, UNITS);
  // A token that takes every call and does nothing.
  await site.chain.client.setCode({ address: site.chain.network.usdc.address, bytecode: '0x00' });
  expect(codeOf(await site.open().deposits.fund('x402', authorization, null))).toBe('invalid');
  expect(await site.balance(payer)).toBeNull();
});

test('a transfer that the payer sends itself, ahead of ours, is credited all the same', async () => {
  await using site = await startPaymentSite();
  const payer = await site.chain.wallet({ usdc: UNITS });
  const authorization = await site.authorize(payer, UNITS);
  await site.chain.client.setAutomine(false);
  const { evm, deposits } = site.open();
  const waiting = deposits.fund('x402', authorization, null);
  await expect.poll(async () => (await site.chain.client.getTxpoolStatus()).pending).toBe(1);
  const { to, data } = evm.transferCall(authorization);
  const gasPrice = 100_000_000_000n;
  await site.chain.client.sendTransaction({ account: payer.account, to, data, gas: 150_000n, gasPrice });
  await site.chain.client.mine({ blocks: 1 });
  expect(codeOf(await waiting)).toBe('funded');
  expect(await site.balance(payer)).toBe(NANOUSD);
});

test('chaos: a node that loses its answers after it took the transfer, and then is away, costs nobody anything', async () => {
  await using site = await startPaymentSite();
  await using rpc = await startFaultyRpc(site.chain.url);
  const { deposits } = site.open({ rpcUrls: [rpc.url], waitMs: 3_000 });
  const payers = await Promise.all(Array.from({ length: 5 }, () => site.chain.wallet({ usdc: UNITS })));
  for (const [index, payer] of payers.entries()) {
    rpc.lose('eth_sendRawTransaction', index + 1);
    rpc.lose('eth_getTransactionReceipt', index);
    expect(codeOf(await deposits.fund('x402', await site.authorize(payer, UNITS), null))).toBe('funded');
  }
  expect(rpc.lost).toBeGreaterThan(5);
  rpc.away = true;
  const poor = await site.chain.wallet({ usdc: UNITS });
  const authorization = await site.authorize(poor, UNITS);
  expect(codeOf(await deposits.fund('x402', authorization, null))).toBe('unavailable');
  rpc.away = false;
  expect(codeOf(await deposits.fund('x402', await site.authorize(poor, UNITS), null))).toBe('funded');
  expect(await site.chain.usdcOf(site.treasury.address)).toBe(6n * UNITS);
});

test('chaos: with blocks of two seconds every payer of ten is funded, once', async () => {
  await using site = await startPaymentSite();
  await site.chain.client.setAutomine(false);
  await site.chain.client.setIntervalMining({ interval: 2 });
  const { deposits } = site.open({ waitMs: 20_000 });
  const payers = await Promise.all(Array.from({ length: 10 }, () => site.chain.wallet({ usdc: UNITS })));
  const outcomes = await Promise.all(
    payers.map(async (payer) => deposits.fund('x402', await site.authorize(payer, UNITS), null)),
  );
  expect(outcomes.map(codeOf)).toEqual(Array(10).fill('funded'));
  expect(await site.chain.usdcOf(site.treasury.address)).toBe(10n * UNITS);
});

test('failed payments are forgotten a day after they ended, and no others', async () => {
  await using site = await startPaymentSite();
  const { sql } = site.database;
  const { deposits } = site.open();
  const [rich, poor] = [await site.chain.wallet({ usdc: UNITS }), await site.chain.wallet()];
  for (const payer of [rich, poor]) await deposits.fund('x402', await site.authorize(payer, UNITS), null);
  await site.open().deposits.reconcile(0);
  expect(await site.states()).toEqual(['settled', 'failed']);
  await sql`update payment set valid_before = extract(epoch from now() - interval '25 hours')::bigint`;
  await site.open().deposits.reconcile(0);
  expect(await site.states()).toEqual(['settled']);
});
