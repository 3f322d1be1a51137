/** A gateway that wallets can pay, on a chain of its own, and stock clients to pay it with. */
import { ExactEvmScheme } from '@x402/evm/exact/client';
import { wrapFetchWithPayment, x402Client } from '@x402/fetch';
import { Mppx } from 'mppx/client';
import { evm } from 'mppx/evm/client';
import type { PrivateKeyAccount } from 'viem/accounts';
import { type LocalChain, type LocalWallet, startLocalChain } from '../payments/chain/local.ts';
import type { PaymentsConfig } from '../payments/methods/open.ts';
import { startTestGateway, type TestGateway, type TestOptions } from './testing.ts';

export interface WalletGateway extends AsyncDisposable {
  readonly gateway: TestGateway;
  readonly chain: LocalChain;
  readonly treasury: LocalWallet;
  readonly payments: PaymentsConfig;
}

/** Starts both. Without options: two keys that pay gas, and one simulated worker. */
export async function startWalletGateway(
  options: TestOptions = {},
  payments: Partial<PaymentsConfig> = {},
): Promise<WalletGateway> {
  const chain = await startLocalChain();
  const treasury = await chain.wallet();
  const gasKeys = [await chain.wallet(), await chain.wallet()].map(({ privateKey }) => privateKey);
  const configured: PaymentsConfig = {
    network: chain.network,
    rpcUrls: [chain.url],
    treasuryKey: treasury.privateKey,
    payTo: null,
    gasKeys,
    facilitator: null,
    leastNanousd: 1_000_000n,
    ...payments,
  };
  const config = { gatewayUrl: 'https://gate.example.com', ...options.config, payments: configured };
  const gateway = await startTestGateway({ ...options, config });
  return {
    gateway,
    chain,
    treasury,
    payments: configured,
    [Symbol.asyncDispose]: async () => {
      await gateway.stop();
      await chain.stop();
    },
  };
}

/** The stock x402 client, with its own limits on spending. */
export function x402Fetch(account: PrivateKeyAccount, inner: typeof fetch = fetch): typeof fetch {
  const client = new x402Client().register('eip155:84532', new ExactEvmScheme(account));
  return wrapFetchWithPayment(inner, client) as typeof fetch;
}

/** The stock MPP client. */
export function mppFetch(account: PrivateKeyAccount, inner: typeof fetch = fetch): typeof fetch {
  const authorization = { name: 'USDC', version: '2' };
  const client = Mppx.create({
    methods: [evm.charge({ account, authorization })],
    polyfill: false,
    fetch: inner,
  });
  return client.fetch as typeof fetch;
}

/** A request for a call that holds little. */
export function chatInit(body: object = {}, headers: Readonly<Record<string, string>> = {}): RequestInit {
  return {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({
      model: 'tiny',
      messages: [{ role: 'user', content: 'What is a fare gate?' }],
      max_tokens: 16,
      ...body,
    }),
  };
}
