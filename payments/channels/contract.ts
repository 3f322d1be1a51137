/** The contract of channels as we use it: what it says of one, and the calls that we send it. */
import { BaseError, ExecutionRevertedError, encodeFunctionData } from 'viem';
import { batchSettlementAbi as abi } from '../chain/abi.ts';
import { BATCH_SETTLEMENT as address, DEPOSIT_COLLECTOR } from '../chain/networks.ts';
import type { Hex } from '../methods/authorization.ts';
import type { Evm } from '../methods/evm.ts';
import { type ChannelConfig, collectorData } from './typed-data.ts';

/** A channel on the chain, in units of its token. */
export interface ChannelState {
  /** What was deposited, less what was given back. */
  readonly balance: bigint;
  readonly claimed: bigint;
  /** Seconds since 1970; 0: no withdrawal waits. */
  readonly withdrawRequestedAt: bigint;
  readonly refundNonce: bigint;
}

/** A deposit that its payer signed. */
export interface ChannelDeposit {
  readonly amount: bigint;
  readonly validAfter: bigint;
  readonly validBefore: bigint;
  readonly salt: Hex;
  readonly signature: Hex;
}

export interface Claim {
  readonly config: ChannelConfig;
  readonly ceiling: bigint;
  readonly signature: Hex;
  readonly total: bigint;
}

export interface ContractCall {
  /** Who asks, where that matters. */
  readonly account?: Hex;
  readonly to: Hex;
  readonly data: Hex;
}

/** What the contract says of channels, in one question. `deep`: as of the newest block that is deep enough to believe in a deposit. */
export async function readChannels(
  evm: Evm,
  ids: readonly Hex[],
  { deep }: { deep: boolean } = { deep: false },
): Promise<ChannelState[]> {
  const contracts = ids.flatMap((id) => [
    { address, abi, functionName: 'channels', args: [id] } as const,
    { address, abi, functionName: 'pendingWithdrawals', args: [id] } as const,
    { address, abi, functionName: 'refundNonce', args: [id] } as const,
  ]);
  const blockNumber = deep ? await evm.deepest() : null;
  const where = blockNumber === null ? {} : { blockNumber };
  const answers = await evm.client.multicall({ contracts, allowFailure: false, ...where });
  return ids.map((_, at) => {
    const [balance, claimed] = answers[3 * at] as readonly [bigint, bigint];
    const [, requestedAt] = answers[3 * at + 1] as readonly [bigint, number];
    return { balance, claimed, withdrawRequestedAt: BigInt(requestedAt), refundNonce: answers[3 * at + 2] as bigint };
  });
}

export function depositCall(config: ChannelConfig, deposit: ChannelDeposit): ContractCall {
  const args = [config, deposit.amount, DEPOSIT_COLLECTOR, collectorData(deposit)] as const;
  return { to: address, data: encodeFunctionData({ abi, functionName: 'deposit', args }) };
}

/** Claims for channels of one receiver, and pays it what was claimed. */
export function claimCall(claims: readonly Claim[], authorization: Hex, receiver: Hex, token: Hex): ContractCall {
  const settle = encodeFunctionData({ abi, functionName: 'settle', args: [receiver, token] });
  return together([claimData(claims, authorization), settle]);
}

/** Claims, then gives back `amount` of what is not claimed. */
export function refundCall(
  claim: { readonly claim: Claim; readonly authorization: Hex } | null,
  refund: {
    readonly config: ChannelConfig;
    readonly amount: bigint;
    readonly nonce: bigint;
    readonly authorization: Hex;
  },
): ContractCall {
  const { config, amount, nonce, authorization } = refund;
  const args = [config, amount, nonce, authorization] as const;
  const back = encodeFunctionData({ abi, functionName: 'refundWithSignature', args });
  return together(claim === null ? [back] : [claimData([claim.claim], claim.authorization), back]);
}

/** Why the contract would refuse a call now; null when it would not. */
export async function refusalOf(evm: Evm, call: ContractCall): Promise<string | null> {
  try {
    await evm.client.call(call);
    return null;
  } catch (error) {
    const reverted = error instanceof BaseError ? error.walk((cause) => cause instanceof ExecutionRevertedError) : null;
    if (!(reverted instanceof ExecutionRevertedError)) throw error;
    return reverted.details.replace(/^execution reverted:? */, '') || 'the contract refuses it';
  }
}

function claimData(claims: readonly Claim[], authorization: Hex): Hex {
  const entries = claims.map(({ config, ceiling, signature, total }) => ({
    voucher: { channel: config, maxClaimableAmount: ceiling },
    signature,
    totalClaimed: total,
  }));
  return encodeFunctionData({ abi, functionName: 'claimWithSignature', args: [entries, authorization] });
}

function together(calls: readonly Hex[]): ContractCall {
  return { to: address, data: encodeFunctionData({ abi, functionName: 'multicall', args: [[...calls]] }) };
}
