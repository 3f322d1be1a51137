/** The networks that money comes and goes by: each with its USDC as stock clients know it. */
import type { Address, Chain } from 'viem';

export interface Network {
  /** By CAIP-2. */
  readonly id: `eip155:${number}`;
  readonly chain: Chain;
  /** `name` and `version` are those of its EIP-712 domain: they differ between networks. */
  readonly usdc: { readonly address: Address; readonly name: string; readonly version: string };
  /** Where the host does not say: so many blocks, its own included, hold a payment that counts. */
  readonly depositConfirmations: bigint;
}

/** These are at the same address on every network. */
export const MULTICALL3: Address = '0xcA11bde05977b3631167028862bE2a173976CA11';

/** Of x402's scheme `batch-settlement`, and what brings deposits into it by EIP-3009. */
export const BATCH_SETTLEMENT: Address = '0x4020074e9dF2ce1deE5A9C1b5c3f541D02a10003';
export const DEPOSIT_COLLECTOR: Address = '0x4020806089470a89826cB9fB1f4059150b550004';

/** Moves tokens by signatures; what x402's scheme `upto` moves them through. */
export const PERMIT2: Address = '0x000000000022D473030F116dDEE9F6B43aC78BA3';
export const UPTO_PROXY: Address = '0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002';

const ETHER = { name: 'Ether', symbol: 'ETH', decimals: 18 };
/** One sequencer orders these networks: what is in a block is taken back only when that one fails. */
const SEQUENCED = 1n;
const contracts = { multicall3: { address: MULTICALL3 } };

/** By the name that a host's configuration gives them. */
export const NETWORKS = {
  base: {
    id: 'eip155:8453',
    chain: {
      id: 8453,
      name: 'Base',
      nativeCurrency: ETHER,
      blockTime: 2_000,
      contracts,
      rpcUrls: { default: { http: ['https://mainnet.base.org'] } },
    },
    usdc: { address: '0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913', name: 'USD Coin', version: '2' },
    depositConfirmations: SEQUENCED,
  },
  'base-sepolia': {
    id: 'eip155:84532',
    chain: {
      id: 84532,
      name: 'Base Sepolia',
      testnet: true,
      nativeCurrency: ETHER,
      blockTime: 2_000,
      contracts,
      rpcUrls: { default: { http: ['https://sepolia.base.org'] } },
    },
    usdc: { address: '0x036CbD53842c5426634e7929541eC2318f3dCF7e', name: 'USDC', version: '2' },
    depositConfirmations: SEQUENCED,
  },
} as const satisfies Record<string, Network>;
