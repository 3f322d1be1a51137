/**
 * A chain of our own for tests and the demo: anvil under the id of Base Sepolia, with our Solidity at the addresses where that network
 * has the real contracts. Stock clients cannot tell them apart.
 */
import {
  type Address,
  createTestClient,
  encodeAbiParameters,
  type Hex,
  http,
  keccak256,
  parseAbiParameters,
  parseEther,
  publicActions,
  toHex,
  walletActions,
} from 'viem';
import { generatePrivateKey, type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts';
import { usdcAbi } from './abi.ts';
import { startAnvil } from './anvil.ts';
import contracts from './contracts.json' with { type: 'json' };
import {
  BATCH_SETTLEMENT,
  DEPOSIT_COLLECTOR,
  MULTICALL3,
  NETWORKS,
  type Network,
  PERMIT2,
  UPTO_PROXY,
} from './networks.ts';

export interface LocalWallet {
  readonly privateKey: Hex;
  readonly address: Address;
  /** What clients sign with. */
  readonly account: PrivateKeyAccount;
}

export interface LocalChain {
  readonly url: string;
  readonly network: Network;
  /** Reads, sends and holds time still or forward: `mine`, `setAutomine`, `setIntervalMining`, `increaseTime`, `snapshot`, … */
  readonly client: LocalClient;
  /** A new wallet with so much USDC in its smallest units, and by default with ether for gas. */
  wallet(funds?: { usdc?: bigint; wei?: bigint }): Promise<LocalWallet>;
  usdcOf(address: Address): Promise<bigint>;
  /** Gives a wallet so much USDC in all, out of nothing. */
  fund(address: Address, usdc: bigint): Promise<void>;
  /** Makes USDC refuse every transfer from or to an address, or lets it again. */
  refuse(address: Address, refused?: boolean): Promise<void>;
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

type LocalClient = ReturnType<typeof connectTo>;

const NETWORK: Network = NETWORKS['base-sepolia'];

const PLACED: readonly (readonly [Address, string])[] = [
  [NETWORK.usdc.address, contracts.Usdc],
  [MULTICALL3, contracts.Multicall3],
  [BATCH_SETTLEMENT, contracts.BatchSettlement],
  [DEPOSIT_COLLECTOR, contracts.Erc3009DepositCollector],
  [PERMIT2, contracts.Permit2],
  [UPTO_PROXY, contracts.UptoPermit2Proxy],
];

/** Where Usdc.sol keeps its balances and the addresses it refuses. */
const BALANCES_SLOT = 0n;
const REFUSED_SLOT = 1n;

/** Starts a chain that has nothing but our contracts. */
export async function startLocalChain(): Promise<LocalChain> {
  const anvil = await startAnvil(NETWORK.chain.id);
  const client = connectTo(anvil.url);
  await Promise.all(PLACED.map(([address, code]) => client.setCode({ address, bytecode: code as Hex })));
  const usdc = NETWORK.usdc.address;
  const write = (slot: bigint, owner: Address, value: bigint) =>
    client.setStorageAt({ address: usdc, index: slotOf(slot, owner), value: toHex(value, { size: 32 }) });
  return {
    url: anvil.url,
    network: NETWORK,
    client,
    wallet: async ({ usdc: units = 0n, wei = parseEther('1') } = {}) => {
      const privateKey = generatePrivateKey();
      const account = privateKeyToAccount(privateKey);
      if (wei > 0n) await client.setBalance({ address: account.address, value: wei });
      if (units > 0n) await write(BALANCES_SLOT, account.address, units);
      return { privateKey, address: account.address, account };
    },
    usdcOf: (address) =>
      client.readContract({ address: usdc, abi: usdcAbi, functionName: 'balanceOf', args: [address] }),
    fund: (address, units) => write(BALANCES_SLOT, address, units),
    refuse: (address, refused = true) => write(REFUSED_SLOT, address, refused ? 1n : 0n),
    stop: anvil.stop,
    [Symbol.asyncDispose]: anvil.stop,
  };
}

/** Where Solidity keeps an address's value in the mapping of a slot. */
function slotOf(slot: bigint, owner: Address): Hex {
  return keccak256(encodeAbiParameters(parseAbiParameters('address, uint256'), [owner, slot]));
}

function connectTo(url: string) {
  return createTestClient({
    mode: 'anvil',
    chain: NETWORK.chain,
    transport: http(url, { retryCount: 0 }),
    pollingInterval: 20,
    cacheTime: 0,
  })
    .extend(publicActions)
    .extend(walletActions);
}
