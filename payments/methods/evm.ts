/** Reading the chain: whether an authorization would move money now, and whether it did. */
import {
  BaseError,
  ContractFunctionRevertedError,
  createPublicClient,
  encodeFunctionData,
  fallback,
  formatTransactionReceipt,
  http,
  type Log,
  type PublicClient,
  parseEventLogs,
} from 'viem';
import { usdcAbi } from '../chain/abi.ts';
import type { Network } from '../chain/networks.ts';
import type { Authorization, Hex } from './authorization.ts';

/** A transaction in which the money of an authorization arrived. */
export interface Transfer {
  readonly transaction: Hex;
}

/** A transfer that a reorganisation put into another block is in one at most so much older: looked for there too. */
const REORGANISED_BLOCKS = 64n;
const RPC_TIMEOUT_MS = 5_000;
const RPC_RETRIES = 2;

export class Evm {
  readonly network: Network;
  readonly client: PublicClient;
  readonly #confirmations: bigint;
  #checked: Promise<void> | null = null;

  /** `confirmations`: so many blocks must hold a payer's transfer, its own included, before it has arrived. */
  constructor(network: Network, rpcUrls: readonly string[], confirmations = 1n) {
    this.network = network;
    this.#confirmations = confirmations;
    const options = { timeout: RPC_TIMEOUT_MS, retryCount: RPC_RETRIES, retryDelay: 50 };
    const transport = fallback(rpcUrls.map((url) => http(url, options)));
    this.client = createPublicClient({ chain: network.chain, transport, cacheTime: 0 }) as PublicClient;
  }

  /** Throws unless the node serves the network that it is configured for; asked once. */
  async check(): Promise<void> {
    this.#checked ??= this.#compareChain().catch((error) => {
      this.#checked = null;
      throw error;
    });
    return this.#checked;
  }

  async #compareChain(): Promise<void> {
    const id = await this.client.getChainId();
    if (id === this.network.chain.id) return;
    throw new Error(`the node serves chain ${id}, and ${this.network.id} is configured`);
  }

  head(): Promise<bigint> {
    return this.client.getBlockNumber();
  }

  /** The chain's own clock where it is deep enough, in seconds: what had to be mined before then has arrived, or never will. */
  async now(): Promise<bigint> {
    const blockNumber = await this.deepest();
    const where = blockNumber === null ? { blockTag: 'latest' as const } : { blockNumber };
    return (await this.client.getBlock(where)).timestamp;
  }

  /** The newest block that is deep enough; null: each is, once it is there. */
  async deepest(): Promise<bigint | null> {
    if (this.#confirmations === 1n) return null;
    const above = this.#confirmations - 1n;
    const head = await this.head();
    return head > above ? head - above : 0n;
  }

  /**
   * Why the asset would refuse this transfer now; null when it would not. The contract itself looks at signature, balance, time and
   * nonce: no curve is computed here, and wallets that are contracts are heard as well.
   */
  async refusalOf(authorization: Authorization): Promise<string | null> {
    try {
      await this.client.simulateContract({
        address: this.network.usdc.address,
        abi: usdcAbi,
        functionName: 'transferWithAuthorization',
        args: argumentsOf(authorization),
      });
      return null;
    } catch (error) {
      const reverted =
        error instanceof BaseError ? error.walk((cause) => cause instanceof ContractFunctionRevertedError) : null;
      if (reverted instanceof ContractFunctionRevertedError) return reverted.reason ?? reverted.shortMessage;
      throw error;
    }
  }

  /** The call that moves the money. */
  transferCall(authorization: Authorization): { to: Hex; data: Hex } {
    const data = encodeFunctionData({
      abi: usdcAbi,
      functionName: 'transferWithAuthorization',
      args: argumentsOf(authorization),
    });
    return { to: this.network.usdc.address, data };
  }

  /** Whether the authorization was used or cancelled, by whomever. */
  isUsed({ from, nonce }: Authorization): Promise<boolean> {
    return this.client.readContract({
      address: this.network.usdc.address,
      abi: usdcAbi,
      functionName: 'authorizationState',
      args: [from, nonce],
    });
  }

  /** What one transaction did of an authorization: its transfer, `failed` for nothing, null while it is not mined deep enough. */
  async transferIn(transaction: Hex, authorization: Authorization): Promise<Transfer | 'failed' | null> {
    // The depth first: the receipt is then that of a block which was there when the chain was so long.
    const deepest = await this.deepest();
    // Asked for as it is: looked for often before it is there, and an error each time would be dear.
    const raw = await this.client.request({ method: 'eth_getTransactionReceipt', params: [transaction] });
    const receipt = raw === null ? null : formatTransactionReceipt(raw);
    if (receipt === null || (deepest !== null && receipt.blockNumber > deepest)) return null;
    return receipt.status === 'success' && this.#shows(receipt.logs, authorization) ? { transaction } : 'failed';
  }

  /** The transfer of an authorization, whoever sent it: a payer may send its own. Searches from a block on. */
  async transferSince(block: bigint, authorization: Authorization): Promise<Transfer | null> {
    const [used] = await this.client.getContractEvents({
      address: this.network.usdc.address,
      abi: usdcAbi,
      eventName: 'AuthorizationUsed',
      args: { authorizer: authorization.from, nonce: authorization.nonce },
      fromBlock: block > REORGANISED_BLOCKS ? block - REORGANISED_BLOCKS : 0n,
      strict: true,
    });
    if (used === undefined) return null;
    const found = await this.transferIn(used.transactionHash, authorization);
    return found === 'failed' ? null : found;
  }

  /**
   * A status of success is not enough: some tokens do not revert on a used nonce. The asset must say that it used this very nonce
   * and that it moved this very sum.
   */
  #shows(logs: Log[], { from, to, value, nonce }: Authorization): boolean {
    const own = logs.filter(({ address }) => address.toLowerCase() === this.network.usdc.address.toLowerCase());
    const events = parseEventLogs({ abi: usdcAbi, logs: own });
    const used = events.some(
      (event) =>
        event.eventName === 'AuthorizationUsed' &&
        event.args.authorizer.toLowerCase() === from &&
        event.args.nonce.toLowerCase() === nonce,
    );
    const moved = events.some(
      (event) =>
        event.eventName === 'Transfer' &&
        event.args.from.toLowerCase() === from &&
        event.args.to.toLowerCase() === to &&
        event.args.value === value,
    );
    return used && moved;
  }
}

function argumentsOf({ from, to, value, validAfter, validBefore, nonce, signature }: Authorization) {
  return [from, to, value, validAfter, validBefore, nonce, signature] as const;
}
