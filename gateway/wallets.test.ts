import { expect, test } from 'vitest';
import { createAgent } from '../payments/ledger.ts';
import { startWalletGateway } from './testing-wallets.ts';

test('however many wallets pay for the first time at once, each has its key: none is taken for one who guesses keys', async () => {
  await using site = await startWalletGateway();
  const { payments, platform } = site.gateway.running.gateway;
  const { sql } = platform.database;
  const accounts = await Promise.all(Array.from({ length: 150 }, (_, name) => createAgent(sql, { name: `${name}` })));
  const made = await Promise.all(accounts.map(async ({ id }) => ({ id, ...(await payments?.keyOf(id)) })));
  for (const { id, principal, key } of made) {
    expect(principal?.ownerId).toBe(id);
    expect(key).toMatch(/^fg_live_/);
  }
  expect(await payments?.keyOf(made[0]?.id ?? '')).toEqual({ principal: made[0]?.principal, key: null });
});
