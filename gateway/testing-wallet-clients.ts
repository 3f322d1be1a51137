/** Stock clients that wallets pay with, as their owners would write them. */
import { ExactEvmScheme } from '@x402/evm/exact/client';
import { wrapFetchWithPayment, x402Client, x402HTTPClient } from '@x402/fetch';
import { Mppx } from 'mppx/client';
import { evm } from 'mppx/evm/client';
import type { PrivateKeyAccount } from 'viem/accounts';

/** The stock x402 client, with its own limits on spending. */
export function x402Fetch(account: PrivateKeyAccount, inner: typeof fetch = fetch): typeof fetch {
  return wrapFetchWithPayment(inner, clientOf(account)) as typeof fetch;
}

/** Asks, is told to pay, and answers the headers that would: for those who then do with them what no stock client does. */
export async function paymentFor(
  account: PrivateKeyAccount,
  url: URL,
  init: RequestInit,
): Promise<Record<string, string>> {
  const answer = await fetch(url, init);
  if (answer.status !== 402) throw new Error(`expected 402, not ${answer.status}: ${await answer.text()}`);
  const client = clientOf(account);
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
