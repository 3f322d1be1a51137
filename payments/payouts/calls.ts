/** What goes to the chain for payouts: an EIP-3009 authorization each, and one call of Multicall3 for many of them. */
import {
  decodeErrorResult,
  decodeFunctionResult,
  encodeFunctionData,
  keccak256,
  type LocalAccount,
  parseAbi,
  stringToHex,
} from 'viem';
import { multicall3Abi, usdcAbi } from '../chain/abi.ts';
import { MULTICALL3, type Network } from '../chain/networks.ts';
import type { Hex } from '../methods/authorization.ts';
import type { Evm } from '../methods/evm.ts';
import { unitsWithin } from '../units.ts';
import type { Booked } from './claims.ts';

/** A payout with the call that carries it out. */
export interface SignedPayout {
  readonly payout: Booked;
  readonly callData: Hex;
}

const TRANSFER_TYPES = {
  TransferWithAuthorization: [
    { name: 'from', type: 'address' },
    { name: 'to', type: 'address' },
    { name: 'value', type: 'uint256' },
    { name: 'validAfter', type: 'uint256' },
    { name: 'validBefore', type: 'uint256' },
    { name: 'nonce', type: 'bytes32' },
  ],
} as const;

const errorAbi = parseAbi(['error Error(string message)']);

/** The nonce of a payout's one authorization: the token itself refuses to use it twice. */
export function nonceOf(payoutId: string): Hex {
  return keccak256(stringToHex(payoutId));
}

/** Signs the payout's authorization: the same one whenever it is signed again. */
export async function signPayout(treasury: LocalAccount, network: Network, payout: Booked): Promise<SignedPayout> {
  const message = {
    from: treasury.address,
    to: payout.payee as Hex,
    value: unitsWithin(payout.amount),
    validAfter: 0n,
    validBefore: payout.validBefore,
    nonce: nonceOf(payout.id),
  };
  const { address: verifyingContract, name, version } = network.usdc;
  const signature = await treasury.signTypedData({
    domain: { name, version, chainId: network.chain.id, verifyingContract },
    types: TRANSFER_TYPES,
    primaryType: 'TransferWithAuthorization',
    message,
  });
  const callData = encodeFunctionData({
    abi: usdcAbi,
    functionName: 'transferWithAuthorization',
    args: [message.from, message.to, message.value, message.validAfter, message.validBefore, message.nonce, signature],
  });
  return { payout, callData };
}

/** All of them in one call; one that fails does not touch the others. */
export function batchCall(network: Network, signed: readonly SignedPayout[]): Hex {
  const target = network.usdc.address;
  const calls = signed.map(({ callData }) => ({ target, allowFailure: true, callData }));
  return encodeFunctionData({ abi: multicall3Abi, functionName: 'aggregate3', args: [calls] });
}

/** Why the chain would not carry some of them out now, by payout. */
export async function refusalsOf(
  { client, network }: Evm,
  signed: readonly SignedPayout[],
): Promise<Map<string, string>> {
  const { data = '0x' } = await client.call({ to: MULTICALL3, data: batchCall(network, signed) });
  const results = decodeFunctionResult({ abi: multicall3Abi, functionName: 'aggregate3', data });
  const refusals = new Map<string, string>();
  for (const [index, { payout }] of signed.entries()) {
    const result = results[index];
    if (result?.success !== true) refusals.set(payout.id, messageOf(result?.returnData ?? '0x'));
  }
  return refusals;
}

function messageOf(returnData: Hex): string {
  try {
    return decodeErrorResult({ abi: errorAbi, data: returnData }).args[0];
  } catch {
    return 'the token refuses the transfer';
  }
}
