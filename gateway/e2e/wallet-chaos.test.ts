/** A chain and its helpers at their worst. After each of it all money is somewhere, and the treasury has what it owes. */
import { expect, test } from 'vitest';
import { startFaultyRpc } from '../../payments/chain/testing-rpc.ts';
import { sendHonestly, startFacilitator } from '../../payments/methods/testing-facilitator.ts';
import { startWalletGateway, type WalletGateway } from '../testing-wallets.ts';
import { callFromWallets, type WalletSums } from './wallet-calls.ts';

const run = { wallets: 6, callsEach: 3, units: 50_000_000n, model: 'tiny' };

/** Stock clients call, pay and withdraw, and the operator is paid. */
async function everybodyPays(site: WalletGateway): Promise<WalletSums> {
  const { gateway, chain } = site;
  const sums = await callFromWallets({ ...run, url: gateway.url, chain });
  expect(sums.calls).toBe(run.wallets * run.callsEach);
  const { address } = await chain.wallet({ wei: 0n });
  await gateway.operator('PUT', '/payout-settings', { address });
  const { data } = await gateway.admin('POST', '/payouts', { reference: 'after it' });
  const [payout] = data as { id: string; nanousd: string }[];
  const state = async () => {
    const { data: payouts } = await gateway.operator('GET', '/payouts');
    return (payouts as { state: string }[])[0]?.state;
  };
  await expect.poll(state, { timeout: 30_000 }).toBe('paid');
  expect((await chain.usdcOf(address)) * 1_000n).toBe(BigInt(payout?.nanousd ?? 0));
  return sums;
}

/** §6.4: what was paid in is a balance, a hold, a charge (the operator's or the host's) or paid out; and the chain says the same. */
async function expectConserved(site: WalletGateway, sums: WalletSums): Promise<void> {
  const { deposited, balances, holds, operators, revenue, leaving, paidOut } = await site.whereabouts();
  expect(deposited).toBe(sums.paid);
  expect(balances + holds + operators + revenue + leaving + paidOut).toBe(deposited);
  expect(sums.balances + sums.charged + sums.withdrawn).toBe(sums.paid);
  expect(balances + holds).toBe(sums.balances);
  expect(await site.treasuryNanousd()).toBe(balances + holds + operators + revenue + leaving);
  expect(await site.payments()).toEqual({ settled: BigInt(sums.payments) });
}

test('chaos: blocks of two seconds', { timeout: 90_000 }, async () => {
  await using site = await startWalletGateway();
  await site.chain.client.setAutomine(false);
  await site.chain.client.setIntervalMining({ interval: 2 });
  await expectConserved(site, await everybodyPays(site));
});

test('chaos: no block comes by itself, and payers give up waiting again and again', { timeout: 90_000 }, async () => {
  await using site = await startWalletGateway({ limits: { paymentMs: 200 } });
  await site.chain.client.setAutomine(false);
  let over = false;
  const mine = async () => {
    while (!over) {
      await new Promise((resolve) => setTimeout(resolve, 700));
      await site.chain.client.mine({ blocks: 1 });
    }
  };
  const mining = mine();
  const sums = await everybodyPays(site).finally(() => {
    over = true;
  });
  await mining;
  await expectConserved(site, sums);
});

test('chaos: a node that loses its answers, after it took what was sent and when it is asked', {
  timeout: 90_000,
}, async () => {
  let lost = () => 0;
  await using rpcs = new AsyncDisposableStack();
  await using site = await startWalletGateway({}, async (chain) => {
    const rpc = rpcs.use(await startFaultyRpc(chain.url));
    // Of all broadcasts the first dozen, and of questions about them a few: as many as the client's own repetitions do not hide.
    rpc.lose('eth_sendRawTransaction', 12);
    rpc.lose('eth_getTransactionReceipt', 8);
    lost = () => rpc.lost;
    return { rpcUrls: [rpc.url] };
  });
  await expectConserved(site, await everybodyPays(site));
  expect(lost()).toBe(20);
});

test('chaos: a facilitator that settles and then lets everybody wait', { timeout: 90_000 }, async () => {
  let asked = 0;
  await using facilitators = new AsyncDisposableStack();
  await using site = await startWalletGateway({ limits: { paymentMs: 700 } }, async (chain) => {
    const { url } = facilitators.use(
      await startFacilitator(async (request) => {
        asked++;
        await sendHonestly(chain, request);
        return null;
      }),
    );
    return { facilitator: { url, key: null } };
  });
  const sums = await everybodyPays(site);
  await expectConserved(site, sums);
  expect(asked).toBe(sums.payments);
});
