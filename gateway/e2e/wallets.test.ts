import { expect, test } from 'vitest';
import { startWalletGateway } from '../testing-wallets.ts';
import { callFromWallets } from './wallet-calls.ts';

test('of twelve wallets with stock clients and five streams each, every unit that left them is a balance or a charge', async () => {
  await using site = await startWalletGateway();
  const { gateway, chain } = site;
  const run = { url: gateway.url, chain, wallets: 12, callsEach: 5, units: 50_000_000n, model: 'tiny' };
  const sums = await callFromWallets(run);
  expect(sums.calls).toBe(60);
  expect(sums.payments).toBeGreaterThanOrEqual(30);
  expect(sums.paid).toBe(await site.treasuryNanousd());
  expect(sums.balances + sums.charged).toBe(sums.paid);
});
