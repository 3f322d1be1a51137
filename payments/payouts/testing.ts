/** What tests of payouts share: operators that have earned something, and a treasury on a local chain with a paymaster. */
import type { Sql } from '../../db/connect.ts';
import type { LocalChain, LocalWallet } from '../chain/local.ts';
import { createOperator } from '../ledger.ts';
import { Evm } from '../methods/evm.ts';
import { Sender } from '../methods/sender.ts';
import { closing, fundedAgent, held, testInstance } from '../testing.ts';
import type { Payout, Treasury } from './booking.ts';
import { bookOperatorPayout, type PayoutPolicy, setPayoutAddress } from './operators.ts';
import { Paymaster } from './paymaster.ts';

/** Nothing is held back and nothing is too little. */
const everything: PayoutPolicy = { holdBackSeconds: 0, minimum: 0n };

/** An operator that has earned so much, and wants it in this wallet. */
export async function earningOperator(sql: Sql, amount: number, address: string | null): Promise<string> {
  const { id: operatorId } = await createOperator(sql, { name: 'operator', sharePpm: 1_000_000 });
  const accountId = await fundedAgent(sql, BigInt(amount));
  const instance = await testInstance(sql, null);
  const hold = await held(instance, accountId, BigInt(amount));
  await hold.capture(closing(amount, { operatorId, operatorSharePpm: 1_000_000 }));
  await instance.close();
  if (address !== null) await setPayoutAddress(sql, operatorId, address.toLowerCase());
  return operatorId;
}

/** A booked payout of all that the operator has earned. */
export async function booked(sql: Sql, treasury: Treasury, operatorId: string, reference = 'first'): Promise<Payout> {
  const outcome = await bookOperatorPayout(sql, treasury, { operatorId, reference }, everything);
  if ('code' in outcome) throw new Error(outcome.code);
  return outcome;
}

export function treasuryOf({ network }: LocalChain, { address }: LocalWallet): Treasury {
  return { network: network.id, asset: network.usdc.address.toLowerCase(), address: address.toLowerCase() };
}

interface Setting {
  readonly sql: Sql;
  readonly chain: LocalChain;
  readonly treasury: LocalWallet;
  /** Who pays the gas. */
  readonly payers: readonly LocalWallet[];
  /** Another way to the node. */
  readonly rpcUrl?: string;
  readonly retryMs?: number;
}

export interface TestPaymaster {
  readonly paymaster: Paymaster;
  readonly sender: Sender;
  readonly reports: string[];
  /** Rounds, and the tending of what was sent, until nothing is pending. */
  finish(): Promise<void>;
}

/** A paymaster for whom each block is final at once. */
export function testPaymaster({ sql, chain, treasury, payers, rpcUrl, retryMs = 50 }: Setting): TestPaymaster {
  const reports: string[] = [];
  const log = { debug: () => {}, warn: (_: object, message: string) => void reports.push(message) };
  const evm = new Evm(chain.network, [rpcUrl ?? chain.url]);
  const sender = new Sender({ sql, evm, keys: payers.map(({ privateKey }) => privateKey), log });
  const paymaster = new Paymaster({ sql, evm, sender, treasury: treasury.account, confirmations: 0n, retryMs, log });
  const finish = async () => {
    for (let left = 400; left > 0; left--) {
      if ((await paymaster.round()) === 0) return;
      await sender.tendOnce();
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    throw new Error('payouts are pending for ever');
  };
  return { paymaster, sender, reports, finish };
}
