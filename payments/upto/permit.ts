/** A maximum that a payer signed (Permit2 through x402's proxy), and what the chain says of it. */
import { encodeFunctionData, parseEventLogs, TransactionReceiptNotFoundError } from 'viem';
import { uptoProxyAbi as abi, usdcAbi } from '../chain/abi.ts';
import { PERMIT2, UPTO_PROXY } from '../chain/networks.ts';
import type { ContractCall } from '../channels/contract.ts';
import type { Hex } from '../methods/authorization.ts';
import type { Evm } from '../methods/evm.ts';

/** Numbers are decimal: so it is kept, and so it came. Addresses are in lower case. */
export interface Permit {
  readonly owner: Hex;
  readonly token: Hex;
  readonly amount: string;
  readonly nonce: string;
  readonly deadline: string;
  readonly to: Hex;
  /** The one address that may move it. */
  readonly facilitator: Hex;
  readonly validAfter: string;
  readonly signature: Hex;
  /** Lets Permit2 move as much of the token first (EIP-2612); null: it may already. */
  readonly approval: Approval | null;
}

export interface Approval {
  readonly deadline: string;
  readonly signature: Hex;
}

/** What Permit2 can move of a payer's money. */
export interface Means {
  readonly balance: bigint;
  readonly allowance: bigint;
}

/** More than come while a maximum lasts. */
const BLOCKS_SEARCHED = 1_000n;

/** Moves so many units of a maximum. */
export function settleCall(permit: Permit, units: bigint): ContractCall {
  const { owner, token, amount, nonce, deadline, to, facilitator, validAfter, signature, approval } = permit;
  const transfer = {
    permitted: { token, amount: BigInt(amount) },
    nonce: BigInt(nonce),
    deadline: BigInt(deadline),
  };
  const witness = { to, facilitator, validAfter: BigInt(validAfter) };
  const args = [transfer, units, owner, witness, signature] as const;
  const data =
    approval === null
      ? encodeFunctionData({ abi, functionName: 'settle', args })
      : encodeFunctionData({ abi, functionName: 'settleWithPermit', args: [approvalOf(permit, approval), ...args] });
  return { account: facilitator, to: UPTO_PROXY, data };
}

export async function meansOf({ client, network }: Evm, owner: Hex): Promise<Means> {
  const { address } = network.usdc;
  const [balance, allowance] = await client.multicall({
    contracts: [
      { address, abi: usdcAbi, functionName: 'balanceOf', args: [owner] },
      { address, abi: usdcAbi, functionName: 'allowance', args: [owner, PERMIT2] },
    ],
    allowFailure: false,
  });
  return { balance, allowance };
}

/**
 * The transaction that moved just so many units from the payer to whom it signed for: its status alone says nothing of the token. `failed`
 * when ours did not; null when that is not known yet. `isUsed`: the nonce of ours is.
 */
export async function arrival(
  evm: Evm,
  hash: Hex,
  { owner, to }: Permit,
  units: bigint,
  { isUsed }: { isUsed: boolean },
): Promise<Hex | 'failed' | null> {
  const { client, network } = evm;
  const receipt = await client.getTransactionReceipt({ hash }).catch((error: unknown) => {
    if (error instanceof TransactionReceiptNotFoundError) return null;
    throw error;
  });
  const { address } = network.usdc;
  if (receipt !== null) {
    const own = receipt.logs.filter((log) => log.address.toLowerCase() === address.toLowerCase());
    const transfers = parseEventLogs({ abi: usdcAbi, eventName: 'Transfer', logs: own });
    const arrived = transfers.some(
      ({ args }) => args.from.toLowerCase() === owner && args.to.toLowerCase() === to && args.value === units,
    );
    return receipt.status === 'success' && arrived ? hash : 'failed';
  }
  if (!isUsed) return null;
  // An earlier one, of which this was to take the place, was mined: it is looked for where it can be.
  const head = await client.getBlockNumber();
  const fromBlock = head > BLOCKS_SEARCHED ? head - BLOCKS_SEARCHED : 0n;
  const found = await client.getContractEvents({
    address,
    abi: usdcAbi,
    eventName: 'Transfer',
    args: { from: owner, to },
    fromBlock,
    strict: true,
  });
  return found.find(({ args }) => args.value === units)?.transactionHash ?? null;
}

function approvalOf({ amount }: Permit, { deadline, signature }: Approval) {
  return {
    value: BigInt(amount),
    deadline: BigInt(deadline),
    r: `0x${signature.slice(2, 66)}` as const,
    s: `0x${signature.slice(66, 130)}` as const,
    v: parseInt(signature.slice(130), 16),
  };
}
