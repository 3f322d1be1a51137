/** Stock clients that wallets pay with, as their owners would write them. */
import { toClientEvmSigner } from '@x402/evm';
import { BatchSettlementEvmScheme } from '@x402/evm/batch-settlement/client';
import { ExactEvmScheme } from '@x402/evm/exact/client';
import { UptoEvmScheme } from '@x402/evm/upto/client';
import { wrapFetchWithPayment, x402Client, x402HTTPClient } from '@x402/fetch';
import { Mppx } from 'mppx/client';
import { evm } from 'mppx/evm/client';
import type { PrivateKeyAccount } from 'viem/accounts';
import type { LocalChain } from '../payments/chain/local.ts';

/** The stock x402 client, with its own limits on spending. */
export function x402Fetch(account: PrivateKeyAccount, inner: typeof fetch = fetch): typeof fetch {
  return wrapFetchWithPayment(inner, clientOf(account)) as typeof fetch;
}

export interface ChannelClient {
  /** The stock client's own: what it signs, and how it asks for a refund. */
  readonly scheme: BatchSettlementEvmScheme;
  readonly fetch: typeof fetch;
}

/** The stock client that pays by vouchers from a channel; another `lane` of the same wallet is another channel. */
export function channelClient(
  chain: LocalChain,
  account: PrivateKeyAccount,
  { lane = 0, inner = fetch }: { lane?: number; inner?: typeof fetch } = {},
): ChannelClient {
  const signer = toClientEvmSigner(account, chain.client);
  const salt = `0x${lane.toString(16).padStart(64, '0')}` as const;
  const scheme = new BatchSettlementEvmScheme(signer, { salt });
  const client = new x402Client().register('eip155:84532', scheme);
  return { scheme, fetch: wrapFetchWithPayment(inner, client) as typeof fetch };
}

/** The stock client that signs a maximum, and with it the approval that it needs. */
export function uptoFetch(chain: LocalChain, account: PrivateKeyAccount, inner: typeof fetch = fetch): typeof fetch {
  return wrapFetchWithPayment(inner, uptoClientOf(chain, account)) as typeof fetch;
}

/** The headers that the stock client would pay a call on credit with. */
export function uptoPayment(chain: LocalChain, account: PrivateKeyAccount, url: URL, init: RequestInit) {
  return paymentBy(uptoClientOf(chain, account), url, init);
}

function uptoClientOf(chain: LocalChain, account: PrivateKeyAccount): x402Client {
  return new x402Client().register('eip155:84532', new UptoEvmScheme(toClientEvmSigner(account, chain.client)));
}

/** Asks, is told to pay, and answers the headers that would: for those who then do with them what no stock client does. */
export function paymentFor(account: PrivateKeyAccount, url: URL, init: RequestInit): Promise<Record<string, string>> {
  return paymentBy(clientOf(account), url, init);
}

async function paymentBy(client: x402Client, url: URL, init: RequestInit): Promise<Record<string, string>> {
  const answer = await fetch(url, init);
  if (answer.status !== 402) throw new Error(`expected 402, not ${answer.status}: ${await answer.text()}`);
  const http = new x402HTTPClient(client);
  const required = http.getPaymentRequiredResponse((name) => answer.headers.get(name));
  return http.encodePaymentSignatureHeader(await client.createPaymentPayload(required));
}

function clientOf(account: PrivateKeyAccount): x402Client {
  return new x402Client().register('eip155:84532', new ExactEvmScheme(account));
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

/** A way out for clients that are told to come back: it sends the very same again, payment and all, until there is another answer. */
export const patiently: typeof fetch = async (input, init) => {
  const request = new Request(input, init);
  for (;;) {
    const answer = await fetch(request.clone());
    if (answer.status !== 503 && answer.status !== 409) return answer;
    const { error } = (await answer.clone().json()) as { error: { code: string } };
    if (!['payment_pending', 'payments_unavailable', 'request_in_progress'].includes(error.code)) return answer;
    await new Promise((resolve) => setTimeout(resolve, Number(answer.headers.get('retry-after-ms'))));
  }
};

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
