/** What the tests of this folder share: a chain, a database whose books must balance, payers and their authorizations. */
import { randomBytes } from 'node:crypto';
import { type TestDatabase, testDatabase } from '../../db/testing.ts';
import { type LocalChain, type LocalWallet, startLocalChain } from '../chain/local.ts';
import { balances } from '../ledger.ts';
import type { Authorization, Hex } from './authorization.ts';
import { openEntrustedPayments } from './entrusted.ts';
import { type OwnPayments, openPayments, type Payments, type PaymentsOptions } from './open.ts';
import { accountOfWallet } from './payment-rows.ts';

export interface PaymentSite extends AsyncDisposable {
  readonly chain: LocalChain;
  readonly database: TestDatabase;
  readonly treasury: LocalWallet;
  /** Another gateway's payments on the same database and chain. It looks after nothing by itself: tests say when. */
  open(options?: Partial<PaymentsOptions>): OwnPayments;
  /** The same of a gateway without keys, which has to ask those that have them. */
  openKeyless(options?: Partial<PaymentsOptions>): Payments;
  /** An authorization of so many units to the treasury. */
  authorize(payer: LocalWallet, units: bigint, change?: { validForSeconds?: bigint }): Promise<Authorization>;
  /** What the wallet's account has; null without one. */
  balance(payer: LocalWallet): Promise<bigint | null>;
  states(): Promise<readonly string[]>;
}

const quiet = { debug: () => {}, warn: () => {} };

const types = {
  TransferWithAuthorization: [
    { name: 'from', type: 'address' },
    { name: 'to', type: 'address' },
    { name: 'value', type: 'uint256' },
    { name: 'validAfter', type: 'uint256' },
    { name: 'validBefore', type: 'uint256' },
    { name: 'nonce', type: 'bytes32' },
  ],
} as const;

export async function startPaymentSite(): Promise<PaymentSite> {
  const [chain, database] = await Promise.all([startLocalChain(), testDatabase()]);
  const treasury = await chain.wallet();
  const { sql } = database;
  const common: PaymentsOptions = {
    network: chain.network,
    rpcUrls: [chain.url],
    treasuryKey: treasury.privateKey,
    payTo: null,
    gasKeys: [treasury.privateKey],
    facilitator: null,
    leastNanousd: 1n,
    depositConfirmations: 1n,
    confirmations: 0n,
    upto: { cap: 100_000_000n },
    callMs: 60_000,
    channels: { leastDeposit: 1n, claimMinimum: 1n },
    elsewhere: { authorizer: null, mover: null },
    payouts: { holdBackSeconds: 0, everySeconds: null, minimum: 0n, withdrawalMinimum: 0n },
    sql,
    log: quiet,
    origin: null,
    secretKey: 'secret',
    waitMs: 5_000,
    atOnce: 256,
    atOncePerPayer: 64,
  };
  return {
    chain,
    database,
    treasury,
    open: (options = {}) => {
      const payments = openPayments({ ...common, ...options });
      void payments.close();
      return payments;
    },
    openKeyless: (options = {}) => {
      const keyless = { ...common, treasuryKey: null, gasKeys: [], payTo: treasury.address };
      const elsewhere = { authorizer: treasury.address, mover: treasury.address };
      const payments = openEntrustedPayments({ ...keyless, elsewhere, ...options });
      void payments.close();
      return payments;
    },
    authorize: async (payer, value, { validForSeconds = 300n } = {}) => {
      const { timestamp } = await chain.client.getBlock();
      const from = payer.address.toLowerCase() as Hex;
      const to = treasury.address.toLowerCase() as Hex;
      const nonce: Hex = `0x${randomBytes(32).toString('hex')}`;
      const message = { from, to, value, validAfter: 0n, validBefore: timestamp + validForSeconds, nonce };
      const { address: verifyingContract, name, version } = chain.network.usdc;
      const domain = { name, version, chainId: chain.network.chain.id, verifyingContract };
      const primaryType = 'TransferWithAuthorization';
      return { ...message, signature: await payer.account.signTypedData({ domain, types, primaryType, message }) };
    },
    balance: async (payer) => {
      const account = await accountOfWallet(sql, `${chain.network.id}:${payer.address.toLowerCase()}`);
      return account === null ? null : (await balances(sql, account)).prepaid;
    },
    states: async () => {
      const rows = await sql<{ state: string }[]>`select state from payment order by created_at`;
      return rows.map(({ state }) => state);
    },
    [Symbol.asyncDispose]: async () => {
      await chain.stop();
      await database[Symbol.asyncDispose]();
    },
  };
}
