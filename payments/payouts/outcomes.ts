/** What the chain has done with payouts, read where it is final: the token's own record of used authorizations, and its transfers. */
import { getAbiItem, isAddressEqual, type Log, parseEventLogs } from 'viem';
import { usdcAbi } from '../chain/abi.ts';
import type { Network } from '../chain/networks.ts';
import type { Hex } from '../methods/authorization.ts';
import type { Evm } from '../methods/evm.ts';
import { unitsWithin } from '../units.ts';
import { nonceOf } from './calls.ts';
import type { Booked } from './claims.ts';

export type Outcome =
  | { readonly state: 'open' }
  | { readonly state: 'paid'; readonly transaction: Hex }
  /** It can never be carried out any more. */
  | { readonly state: 'expired' }
  /** Used, and no transfer found: for a person to look at. */
  | { readonly state: 'odd' };

interface Chain {
  readonly evm: Evm;
  readonly treasury: { readonly address: Hex };
  readonly confirmations: bigint;
}

interface FinalBlock {
  readonly number: bigint;
  readonly timestamp: bigint;
}

const authorizationUsed = getAbiItem({ abi: usdcAbi, name: 'AuthorizationUsed' });
/** Nodes answer no longer ranges; payouts are valid for fewer blocks. */
const BLOCKS_AT_ONCE = 9_000n;

/** The outcome of each payout, as of the last final block. */
export async function outcomesOf(
  chain: Chain,
  payouts: readonly Booked[],
): Promise<{ payout: Booked; outcome: Outcome }[]> {
  const { evm, confirmations } = chain;
  const head = await evm.head();
  const blockNumber = head > confirmations ? head - confirmations : 0n;
  const { timestamp } = await evm.client.getBlock({ blockNumber });
  const used = await usedOf(chain, payouts, blockNumber);
  const transactions = await transactionsOf(
    chain,
    payouts.filter(({ id }) => used.has(id)),
    blockNumber,
  );
  return payouts.map((payout) => {
    if (!used.has(payout.id)) return { payout, outcome: unusedOutcome(payout, { number: blockNumber, timestamp }) };
    const transaction = transactions.get(payout.id);
    return { payout, outcome: transaction === undefined ? { state: 'odd' } : { state: 'paid', transaction } };
  });
}

/** The clock of the chain never goes back: what was not used by then will never be. */
function unusedOutcome({ validBefore }: Booked, { timestamp }: FinalBlock): Outcome {
  return { state: timestamp >= validBefore ? 'expired' : 'open' };
}

async function usedOf({ evm: { client, network }, treasury }: Chain, payouts: readonly Booked[], blockNumber: bigint) {
  const states = await client.multicall({
    blockNumber,
    allowFailure: false,
    contracts: payouts.map(
      ({ id }) =>
        ({
          address: network.usdc.address,
          abi: usdcAbi,
          functionName: 'authorizationState',
          args: [treasury.address, nonceOf(id)],
        }) as const,
    ),
  });
  return new Set(payouts.filter((_, index) => states[index] === true).map(({ id }) => id));
}

/** In which transaction each was carried out. A use without a transfer of its amount to its payee counts for nothing. */
async function transactionsOf(
  { evm: { client, network }, treasury }: Chain,
  payouts: readonly Booked[],
  blockNumber: bigint,
): Promise<Map<string, Hex>> {
  const found = new Map<string, Hex>();
  const since = payouts.flatMap(({ sinceBlock }) => sinceBlock ?? []);
  if (since.length === 0) return found;
  const byNonce = new Map(payouts.map((payout) => [nonceOf(payout.id), payout]));
  const first = since.reduce((a, b) => (a < b ? a : b));
  for (let fromBlock = first; fromBlock <= blockNumber; fromBlock += BLOCKS_AT_ONCE) {
    const last = fromBlock + BLOCKS_AT_ONCE - 1n;
    const logs = await client.getLogs({
      address: network.usdc.address,
      event: authorizationUsed,
      args: { authorizer: treasury.address, nonce: [...byNonce.keys()] },
      fromBlock,
      toBlock: last < blockNumber ? last : blockNumber,
    });
    for (const hash of new Set(logs.map(({ transactionHash }) => transactionHash))) {
      const receipt = await client.getTransactionReceipt({ hash });
      for (const payout of paidBy(receipt.logs, { network, treasury }, byNonce)) found.set(payout.id, hash);
    }
  }
  return found;
}

/** The payouts that these logs of one transaction prove: each use is followed by its transfer. */
function paidBy(
  logs: readonly Log[],
  { network, treasury }: { readonly network: Network; readonly treasury: { readonly address: Hex } },
  byNonce: ReadonlyMap<Hex, Booked>,
): Booked[] {
  const ofToken = logs.filter(({ address }) => isAddressEqual(address, network.usdc.address));
  const events = parseEventLogs({ abi: usdcAbi, logs: ofToken });
  return events.flatMap((use, index) => {
    const transfer = events[index + 1];
    if (use.eventName !== 'AuthorizationUsed' || transfer?.eventName !== 'Transfer') return [];
    const payout = byNonce.get(use.args.nonce);
    if (payout === undefined || !isAddressEqual(use.args.authorizer, treasury.address)) return [];
    const { from, to, value } = transfer.args;
    const isIts = isAddressEqual(from, treasury.address) && isAddressEqual(to, payout.payee as Hex);
    return isIts && value === unitsWithin(payout.amount) ? [payout] : [];
  });
}
