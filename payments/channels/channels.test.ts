import fc from 'fast-check';
import { encodeFunctionData } from 'viem';
import { expect, test } from 'vitest';
import { violations } from '../../db/checks.ts';
import { batchSettlementAbi } from '../chain/abi.ts';
import { BATCH_SETTLEMENT } from '../chain/networks.ts';
import { startFaultyRpc } from '../chain/testing-rpc.ts';
import type { Funded, PaymentRefusal } from '../methods/method.ts';
import type { OwnPayments } from '../methods/open.ts';
import { type PaymentSite, startPaymentSite } from '../methods/testing.ts';
import { closing, held, type TestInstance, testInstance } from '../testing.ts';
import { unitsFor } from '../units.ts';
import { type ChannelWallet, channelWallet, offer, type Signed, tabOf } from './testing.ts';

const UNITS = 50_000_000n;
const MOST = 5_000n;

function codeOf(outcome: Funded | PaymentRefusal): string {
  return 'code' in outcome ? outcome.code : 'funded';
}

/** One call: it costs so many nano-USD of what was signed. */
async function call(payments: OwnPayments, instance: TestInstance, signed: Signed, charged: number, stream: boolean) {
  const { tab, accountId } = tabOf(await signed.payment.fund(null, MOST));
  const hold = await held(instance, accountId, tab.most);
  const head = stream ? tab.receipt(null) : null;
  await hold.capture(closing(charged));
  await tab.close(BigInt(charged));
  await signed.tell(200, head ?? tab.receipt(BigInt(charged)));
  return payments;
}

async function claimNow(payments: OwnPayments): Promise<void> {
  await payments.claims?.round(0n);
  await payments.sender.tendOnce();
  await payments.sender.tendOnce();
  await payments.claims?.round(0n);
}

async function opened(
  site: PaymentSite,
): Promise<{ wallet: ChannelWallet; payments: OwnPayments; instance: TestInstance }> {
  const wallet = channelWallet(site, await site.chain.wallet({ usdc: UNITS, wei: 0n }));
  const payments = site.open();
  const instance = await testInstance(site.database.sql, null);
  await call(payments, instance, await wallet.sign(payments, MOST), 1_234, false);
  return { wallet, payments, instance };
}

test('T18: of two gateways given one voucher at once one takes it, and the other says that the channel is busy', async () => {
  await using site = await startPaymentSite();
  const { wallet, payments, instance } = await opened(site);
  const other = site.open();
  const signed = await wallet.sign(payments, MOST);
  const gateways = [payments, other, payments, other];
  const outcomes = await Promise.all(gateways.map(() => signed.payment.fund(null, MOST)));
  expect(outcomes.map(codeOf).toSorted()).toEqual(['busy', 'busy', 'busy', 'funded']);
  await tabOf(outcomes.find((outcome) => !('code' in outcome)) as Funded).tab.close(0n);
  // Nothing was answered: the same voucher is good once more, at either.
  await call(other, instance, signed, 10, true);
  expect(codeOf(await signed.payment.fund(null, MOST))).toBe('invalid');
  await instance.close();
});

test('T21: while no node is in reach vouchers pay on, and a deposit is told to come back, unmoved', async () => {
  await using site = await startPaymentSite();
  await using rpc = await startFaultyRpc(site.chain.url);
  const { wallet, instance } = await opened(site);
  const payments = site.open({ rpcUrls: [rpc.url] });
  rpc.away = true;
  await call(payments, instance, await wallet.sign(payments, MOST), 77, true);
  const stranger = channelWallet(site, await site.chain.wallet({ usdc: UNITS, wei: 0n }));
  const deposit = await stranger.sign(payments, MOST);
  expect(codeOf(await deposit.payment.fund(null, MOST))).toBe('unavailable');
  rpc.away = false;
  await call(payments, instance, deposit, 77, true);
  await instance.close();
}, 30_000);

test('T7, T8: a deposit whose sending was not answered, or that is not mined in time, is made once and then pays its call', async () => {
  await using site = await startPaymentSite();
  await using rpc = await startFaultyRpc(site.chain.url);
  const instance = await testInstance(site.database.sql, null);
  const payments = site.open({ rpcUrls: [rpc.url], waitMs: 300 });
  const wallet = channelWallet(site, await site.chain.wallet({ usdc: UNITS, wei: 0n }));
  await site.chain.client.setAutomine(false);
  rpc.lose('eth_sendRawTransaction');
  const signed = await wallet.sign(payments, MOST);
  expect(codeOf(await signed.payment.fund(null, MOST))).toBe('unknown');
  await payments.sender.tendOnce();
  await site.chain.client.mine({ blocks: 1 });
  await site.chain.client.setAutomine(true);
  await call(payments, instance, signed, 500, false);
  const left = await site.chain.usdcOf(wallet.wallet.address);
  const rows = await site.database.sql<{ balance: bigint }[]>`select balance_units as balance from channel`;
  expect(rows).toEqual([{ balance: UNITS - left }]);
  await instance.close();
});

test('a deposit that the token refuses pays nothing, and one that another sent in our place pays its call', async () => {
  await using site = await startPaymentSite();
  const instance = await testInstance(site.database.sql, null);
  const payments = site.open();
  const poor = channelWallet(site, await site.chain.wallet({ usdc: 1n, wei: 0n }));
  expect(await (await poor.sign(payments, MOST)).payment.fund(null, MOST)).toMatchObject({
    code: 'invalid',
    reason: 'ERC20: transfer amount exceeds balance',
  });
  const wallet = channelWallet(site, await site.chain.wallet({ usdc: UNITS, wei: 0n }));
  const signed = await wallet.sign(payments, MOST);
  await call(payments, instance, signed, 500, false);
  // As another gateway would find it, whose database knows nothing of the deposit: the chain has it.
  await site.database.sql`delete from chain_transaction`;
  const again = await signed.payment.fund(null, MOST);
  expect(again).toMatchObject({ code: 'invalid' });
  await call(payments, instance, await wallet.sign(payments, MOST), 500, false);
  await instance.close();
});

test('T18: what channels owe is claimed though they are no longer offered, or transfers are left to a hosted facilitator now', async () => {
  const facilitator = { url: 'http://127.0.0.1:9', key: null };
  for (const changed of [{ channels: null }, { facilitator }]) {
    await using site = await startPaymentSite();
    const { wallet } = await opened(site);
    const payments = site.open(changed);
    expect(payments.channels).toBeNull();
    await claimNow(payments);
    expect(await site.chain.usdcOf(site.treasury.address)).toBe(unitsFor(1_234n));
    expect(await site.chain.usdcOf(wallet.wallet.address)).toBeLessThan(UNITS);
  }
});

test('T18: a channel that its payer empties on the chain is claimed up to what is left, and what is left for others is claimed all the same', async () => {
  await using site = await startPaymentSite();
  const { wallet, payments, instance } = await opened(site);
  const second = channelWallet(site, await site.chain.wallet({ usdc: UNITS, wei: 0n }));
  await call(payments, instance, await second.sign(payments, MOST), 4_000, false);
  await claimNow(payments);
  expect(await site.chain.usdcOf(site.treasury.address)).toBe(2n + 4n);
  // A refund takes the rest; what is not there is asked for no more.
  const refunded = await (await wallet.askRefund(payments)).refund?.();
  expect(refunded).toMatchObject({ amount: expect.any(BigInt) });
  await claimNow(payments);
  expect(await site.chain.usdcOf(site.treasury.address)).toBe(2n + 4n);
  expect(await site.chain.usdcOf(wallet.wallet.address)).toBe(UNITS - 2n);
  await instance.close();
});

test('T18: what was withdrawn while nobody looked pays nothing: the chain is asked before its word is old', async () => {
  await using site = await startPaymentSite();
  const { wallet, payments, instance } = await opened(site);
  const signed = await wallet.sign(payments, MOST);
  // As if all of it had left by the clock of the chain.
  await site.database.sql`update channel set synced_at = now() - interval '6 minutes'`;
  const { address } = wallet.wallet;
  await site.chain.client.setBalance({ address, value: 10n ** 18n });
  const config = wallet.configOf(payments);
  const withdraw = async (functionName: 'initiateWithdraw' | 'finalizeWithdraw') => {
    const args = functionName === 'initiateWithdraw' ? ([config, 100n] as const) : ([config] as const);
    const data = encodeFunctionData({ abi: batchSettlementAbi, functionName, args } as never);
    const { client } = site.chain;
    const hash = await client.sendTransaction({ account: wallet.wallet.account, to: BATCH_SETTLEMENT, data });
    // It may be mined a moment later: then the time that passes next would pass before it.
    await client.waitForTransactionReceipt({ hash });
  };
  await withdraw('initiateWithdraw');
  await site.chain.client.increaseTime({ seconds: 3_700 });
  await site.chain.client.mine({ blocks: 1 });
  await withdraw('finalizeWithdraw');
  expect(codeOf(await signed.payment.fund(null, MOST))).toBe('invalid');
  expect(await site.database.sql`select balance_units as balance from channel`).toEqual([{ balance: 0n }]);
  await instance.close();
});

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('call' as const), charged: fc.nat(5_000), stream: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('fail' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('lost' as const), charged: fc.nat(5_000) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('die' as const), charged: fc.nat(5_000) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('claim' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('refund' as const) }) },
);

test('whatever calls, failures, lost answers, dead gateways, claims and refunds come: charged ≤ credited ≤ signed, and the payer is out what its calls cost, to the unit', async () => {
  await using site = await startPaymentSite();
  const instance = await testInstance(site.database.sql, null);
  const { sql } = site.database;
  const payments = site.open();
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 14 }), async (steps) => {
      const wallet = channelWallet(site, await site.chain.wallet({ usdc: UNITS, wei: 0n }));
      /** What the stock client does: it is refused where it lost track, is told where it stands, and signs again. */
      const pay = async () => {
        const first = await wallet.sign(payments, MOST);
        const outcome = await first.payment.fund(null, MOST);
        if (!('code' in outcome)) return { signed: first, funded: outcome };
        await first.tell(402, offer(payments, MOST, outcome));
        const signed = await wallet.sign(payments, MOST);
        return { signed, funded: await signed.payment.fund(null, MOST) };
      };
      let total = 0n;
      for (const { kind, ...how } of steps) {
        if (kind === 'claim') await claimNow(payments);
        else if (kind === 'refund') {
          const asked = await wallet.askRefund(payments).catch(() => null);
          await asked?.refund?.();
        } else {
          const { signed, funded } = await pay();
          const { tab, accountId } = tabOf(funded);
          const hold = await held(instance, accountId, tab.most);
          const { charged = 0, stream = kind === 'lost' } = how as { charged?: number; stream?: boolean };
          const head = stream ? tab.receipt(null) : null;
          await hold.capture(closing(charged));
          total += BigInt(charged);
          if (kind === 'die')
            await sql`update channel set request_until = now() - interval '1 second' where account_id = ${accountId}`;
          else await tab.close(BigInt(charged));
          if (kind === 'call' && (stream || charged > 0)) await signed.tell(200, head ?? tab.receipt(BigInt(charged)));
        }
        await instance.settler.drain();
        // As it is done by the clock: a key has only so many under way.
        await payments.sender.tendOnce();
        const [row] = await sql<{ spent: bigint; credited: bigint; signed: bigint; announced: bigint }[]>`
          select spent_nanousd as spent, credited_nanousd as credited, signed_units as signed,
            coalesce(request_announced_units, announced_units) as announced
          from channel where payer = ${`${site.chain.network.id}:${wallet.wallet.address.toLowerCase()}`}`;
        if (row !== undefined) {
          expect(row.credited).toBeLessThanOrEqual(row.signed * 1_000n);
          expect(unitsFor(row.spent)).toBeLessThanOrEqual(row.announced);
        }
        expect(await violations(sql)).toEqual([]);
      }
      const { funded, signed } = await pay();
      const { tab, accountId } = tabOf(funded);
      const hold = await held(instance, accountId, tab.most);
      await hold.capture(closing(1));
      await tab.close(1n);
      await signed.tell(200, tab.receipt(1n));
      total += 1n;
      const last = await wallet.askRefund(payments);
      expect(await last.refund?.()).not.toHaveProperty('code');
      expect(await site.chain.usdcOf(wallet.wallet.address)).toBe(UNITS - unitsFor(total));
    }),
    { numRuns: 15, endOnFailure: true },
  );
  await instance.close();
}, 180_000);
