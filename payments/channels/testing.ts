/** A wallet with the stock x402 client that pays from a channel, without HTTP: what it is offered, and what it is told, it gets by hand. */
import { toClientEvmSigner } from '@x402/evm';
import { BatchSettlementEvmScheme } from '@x402/evm/batch-settlement/client';
import { x402Client, x402HTTPClient } from '@x402/fetch';
import type { LocalWallet } from '../chain/local.ts';
import type { Funded, Headers, Payment, PaymentRefusal } from '../methods/method.ts';
import type { Payments } from '../methods/open.ts';
import type { PaymentSite } from '../methods/testing.ts';
import type { Nanousd } from '../money.ts';
import type { ChannelConfig } from './typed-data.ts';

export interface ChannelWallet {
  readonly wallet: LocalWallet;
  /** Signs for a call that costs at most so much, as this gateway reads it. */
  sign(payments: Payments, cost: Nanousd): Promise<Signed>;
  /** The members of its channel. */
  configOf(payments: Payments): ChannelConfig;
  /** Asks for all that is left. */
  askRefund(payments: Payments): Promise<Payment>;
}

export interface Signed {
  readonly payment: Payment;
  /** Gives the client the answer's headers: 200 or 402. */
  tell(status: number, headers: Headers): Promise<void>;
}

const base = {
  url: 'https://gate.example.com/v1/chat/completions',
  description: 'A call',
  error: null,
  digest: 'sha-256=',
  keyed: false,
};

export function channelWallet({ chain }: PaymentSite, wallet: LocalWallet): ChannelWallet {
  const scheme = new BatchSettlementEvmScheme(toClientEvmSigner(wallet.account, chain.client));
  const client = new x402Client().register(chain.network.id, scheme);
  const http = new x402HTTPClient(client);
  return {
    wallet,
    async sign(payments, cost) {
      const required = http.getPaymentRequiredResponse(headerOf(offer(payments, cost)));
      const payload = await client.createPaymentPayload(required);
      const payment = read(payments, http.encodePaymentSignatureHeader(payload));
      const tell = async (status: number, headers: Headers) => {
        await http.processPaymentResult(payload, headerOf(headers), status);
      };
      return { payment, tell };
    },
    configOf(payments) {
      const required = http.getPaymentRequiredResponse(headerOf(offer(payments, 1n)));
      const asked = required.accepts.find(({ scheme: name }) => name === scheme.scheme);
      if (asked === undefined) throw new Error('no channels are offered');
      return scheme.buildChannelConfig(asked);
    },
    async askRefund(payments) {
      let sent: Record<string, string> = {};
      const inner = async (_url: unknown, init?: RequestInit) => {
        const headers = init?.headers as Record<string, string> | undefined;
        if (headers === undefined) return new Response('', { status: 402, headers: { ...offer(payments, 1n) } });
        sent = headers;
        return new Response('', { status: 500 });
      };
      await scheme.refund(base.url, { fetch: inner as typeof fetch }).catch(() => {});
      return read(payments, sent);
    },
  };
}

/** The headers of a 402; `refusal`: of the payment before. */
export function offer(payments: Payments, cost: Nanousd, refusal: PaymentRefusal | null = null): Headers {
  const charge = { ...base, amount: cost, cost, fault: refusal?.fault ?? null };
  return payments.methods[0]?.offer(charge) ?? {};
}

/** The tab of a payment that must be good. */
export function tabOf(funded: Funded | PaymentRefusal) {
  if ('code' in funded || funded.tab === null) throw new Error(`no tab: ${JSON.stringify(funded)}`);
  return { accountId: funded.accountId, tab: funded.tab };
}

function read(payments: Payments, headers: Readonly<Record<string, string>>): Payment {
  const found = payments.methods[0]?.read((name) => headers[name.toUpperCase()] ?? headers[name]);
  if (found == null) throw new Error('no payment');
  return found;
}

function headerOf(headers: Headers) {
  return (name: string) => headers[name.toLowerCase()];
}
