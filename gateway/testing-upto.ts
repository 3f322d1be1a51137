/** What tests of payments on credit share. */
import type { LocalWallet } from '../payments/chain/local.ts';
import { PERMIT2 } from '../payments/chain/networks.ts';
import type { WalletGateway } from './testing-wallets.ts';

/** So much of one wallet may be unpaid. */
export const CAP = 20_000_000n;
export const onCredit = { upto: { cap: CAP } };

/** Moves what is due, as it is done by the clock, until the chain has decided. */
export async function settleNow({ gateway }: WalletGateway): Promise<void> {
  const { payments, ledger } = gateway.running.gateway;
  await ledger.settler.drain();
  await payments?.collections?.round();
  await payments?.sender?.tendOnce();
  await payments?.sender?.tendOnce();
  await payments?.collections?.round();
}

export async function paymentsOf({ gateway }: WalletGateway, { address }: LocalWallet) {
  return gateway.database.sql<{ state: string; charged: bigint | null; most: bigint }[]>`
    select state, charged_nanousd as charged, most_nanousd as most from upto_payment
    where payer_id like ${`%:${address.toLowerCase()}`} order by id`;
}

/** Lets Permit2 move all of a wallet's USDC. */
export async function approve({ chain }: WalletGateway, wallet: LocalWallet, units = 10n ** 12n): Promise<void> {
  await chain.client.setBalance({ address: wallet.address, value: 10n ** 18n });
  const { address } = chain.network.usdc;
  const data = await chain.client.writeContract({
    account: wallet.account,
    address,
    abi: [
      {
        type: 'function',
        name: 'approve',
        stateMutability: 'nonpayable',
        inputs: [
          { name: 'spender', type: 'address' },
          { name: 'value', type: 'uint256' },
        ],
        outputs: [{ type: 'bool' }],
      },
    ],
    functionName: 'approve',
    args: [PERMIT2, units],
  });
  await chain.client.waitForTransactionReceipt({ hash: data });
}
