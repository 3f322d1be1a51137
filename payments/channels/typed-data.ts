/** What is signed about a channel of x402's scheme `batch-settlement` (EIP-712). */
import { encodeAbiParameters, keccak256, parseAbiParameters, toBytes } from 'viem';
import { BATCH_SETTLEMENT } from '../chain/networks.ts';
import type { Hex } from '../methods/authorization.ts';

/** The members that make a channel; addresses in lower case. Whoever changes one has another channel. */
export interface ChannelConfig {
  readonly payer: Hex;
  /** Whose key signs the vouchers; zero: the payer itself, which is a contract. */
  readonly payerAuthorizer: Hex;
  readonly receiver: Hex;
  /** Whose key signs claims and refunds for the receiver. */
  readonly receiverAuthorizer: Hex;
  readonly token: Hex;
  /** Seconds between asking for a withdrawal and having it. */
  readonly withdrawDelay: number;
  /** Tells the channels of one payer apart. */
  readonly salt: Hex;
}

/** A payer's word that so much of a channel may be claimed, in all since it was opened. */
export interface Voucher {
  readonly channelId: Hex;
  readonly ceiling: bigint;
  readonly signature: Hex;
}

export interface ClaimEntry {
  readonly channelId: Hex;
  readonly ceiling: bigint;
  readonly total: bigint;
}

export const ZERO_ADDRESS: Hex = '0x0000000000000000000000000000000000000000';

const typeHash = (type: string) => keccak256(toBytes(type));
const DOMAIN = typeHash('EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)');
const CONFIG = typeHash(
  'ChannelConfig(address payer,address payerAuthorizer,address receiver,address receiverAuthorizer,address token,uint40 withdrawDelay,bytes32 salt)',
);
const VOUCHER = typeHash('Voucher(bytes32 channelId,uint128 maxClaimableAmount)');
const REFUND = typeHash('Refund(bytes32 channelId,uint256 nonce,uint128 amount)');
const ENTRY_TYPE = 'ClaimEntry(bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed)';
const ENTRY = typeHash(ENTRY_TYPE);
const BATCH = typeHash(`ClaimBatch(ClaimEntry[] claims)${ENTRY_TYPE}`);

const CONFIG_MEMBERS = parseAbiParameters('bytes32, address, address, address, address, address, uint256, bytes32');
const DOMAIN_MEMBERS = parseAbiParameters('bytes32, bytes32, bytes32, uint256, address');
const COLLECTOR_DATA = parseAbiParameters('uint256, uint256, uint256, bytes');

/** Digests under the domain of one chain. */
export class ChannelDigests {
  readonly #domain: string;

  constructor(chainId: number) {
    const [name, version] = [typeHash('x402 Batch Settlement'), typeHash('1')];
    this.#domain = keccak256(
      encodeAbiParameters(DOMAIN_MEMBERS, [DOMAIN, name, version, BigInt(chainId), BATCH_SETTLEMENT]),
    ).slice(2);
  }

  channelId(config: ChannelConfig): Hex {
    const { payer, payerAuthorizer, receiver, receiverAuthorizer, token, withdrawDelay, salt } = config;
    const members = [CONFIG, payer, payerAuthorizer, receiver, receiverAuthorizer, token] as const;
    return this.#typed(encodeAbiParameters(CONFIG_MEMBERS, [...members, BigInt(withdrawDelay), salt]));
  }

  voucher({ channelId, ceiling }: Pick<Voucher, 'channelId' | 'ceiling'>): Hex {
    return this.#typed(`${VOUCHER}${channelId.slice(2)}${word(ceiling)}`);
  }

  refund(channelId: Hex, nonce: bigint, amount: bigint): Hex {
    return this.#typed(`${REFUND}${channelId.slice(2)}${word(nonce)}${word(amount)}`);
  }

  claims(entries: readonly ClaimEntry[]): Hex {
    const hashes = entries.map(({ channelId, ceiling, total }) =>
      keccak256(`${ENTRY}${channelId.slice(2)}${word(ceiling)}${word(total)}`).slice(2),
    );
    return this.#typed(`${BATCH}${keccak256(`0x${hashes.join('')}`).slice(2)}`);
  }

  #typed(struct: Hex): Hex {
    return keccak256(`0x1901${this.#domain}${keccak256(struct).slice(2)}`);
  }
}

/** The nonce that binds an authorization to the channel which it fills, and the data by which its collector spends it. */
export function depositNonce(channelId: Hex, salt: Hex): Hex {
  return keccak256(`${channelId}${salt.slice(2)}`);
}

export function collectorData(terms: { validAfter: bigint; validBefore: bigint; salt: Hex; signature: Hex }): Hex {
  const { validAfter, validBefore, salt, signature } = terms;
  return encodeAbiParameters(COLLECTOR_DATA, [validAfter, validBefore, BigInt(salt), signature]);
}

function word(number: bigint): string {
  return number.toString(16).padStart(64, '0');
}
