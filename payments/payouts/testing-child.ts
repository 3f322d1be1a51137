/**
 * A paymaster in a process of its own, for the tests to kill: `node testing-child.ts DATABASE RPC TREASURY_KEY GAS_KEY`. It pays
 * until nothing is pending and prints `done`, or until it is killed.
 */
import { privateKeyToAccount } from 'viem/accounts';
import { connect } from '../../db/connect.ts';
import { NETWORKS } from '../chain/networks.ts';
import type { Hex } from '../methods/authorization.ts';
import { Evm } from '../methods/evm.ts';
import { Sender } from '../methods/sender.ts';
import { Paymaster } from './paymaster.ts';

const [databaseUrl = '', rpcUrl = '', treasuryKey, gasKey] = process.argv.slice(2);
const database = connect(databaseUrl, { max: 2 });
const evm = new Evm(NETWORKS['base-sepolia'], [rpcUrl]);
const log = { debug: () => {}, warn: () => {} };
const { sql } = database;
const sender = new Sender({ sql, evm, keys: [gasKey as Hex], log });
const treasury = privateKeyToAccount(treasuryKey as Hex);
const paymaster = new Paymaster({ sql, evm, sender, treasury, confirmations: 0n, retryMs: 50, log });

while ((await paymaster.round().catch(() => 1)) > 0) {
  await sender.tendOnce().catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 20));
}
process.stdout.write('done\n');
await database.close();
