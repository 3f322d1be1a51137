import { expect, test } from 'vitest';
import { testDatabase } from '../../db/testing.ts';
import { startLocalChain } from '../chain/local.ts';
import { Evm } from '../methods/evm.ts';
import { Sender } from '../methods/sender.ts';
import { openPayouts } from './open.ts';
import { earningOperator } from './testing.ts';

test('two gateways that pay by the clock pay each operator once in each stretch of time', async () => {
  await using chain = await startLocalChain();
  await using database = await testDatabase({ max: 10 });
  const { sql } = database;
  const treasury = await chain.wallet({ usdc: 1_000_000n });
  const payees = [await chain.wallet({ wei: 0n }), await chain.wallet({ wei: 0n })];
  for (const { address } of payees) await earningOperator(sql, 40_000, address);
  const log = { debug: () => {}, warn: () => {} };
  const evm = new Evm(chain.network, [chain.url]);
  const sender = new Sender({ sql, evm, keys: [treasury.privateKey], log });
  // So long that the test is in one of them, whenever it runs.
  const terms = { holdBackSeconds: 0, everySeconds: 1_000_000_000, minimum: 0n, withdrawalMinimum: 0n };
  const options = { sql, evm, sender, treasuryKey: treasury.privateKey, confirmations: 0n, payouts: terms, log };
  const gateways = [openPayouts(options), openPayouts(options)];
  const paid = async () => {
    for (const gateway of gateways) gateway.hurry();
    return Promise.all(payees.map(({ address }) => chain.usdcOf(address)));
  };
  await expect.poll(paid, { timeout: 20_000 }).toEqual([40n, 40n]);
  const rows = async () => sql<{ state: string }[]>`select state from payout`;
  await expect.poll(rows, { timeout: 20_000 }).toEqual([{ state: 'paid' }, { state: 'paid' }]);
  for (const gateway of gateways) gateway.close();
});
