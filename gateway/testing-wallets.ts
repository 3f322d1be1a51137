/** A gateway that wallets can pay, on a chain of its own, and stock clients to pay it with. */
import { extractReceiptFromResponse, verifyReceiptSignatureJWS } from '@x402/extensions/offer-receipt';
import fc from 'fast-check';
import { afterAll, expect } from 'vitest';
import { type LocalChain, type LocalWallet, startLocalChain } from '../payments/chain/local.ts';
import type { PaymentsConfig } from '../payments/methods/open.ts';
import { startTestGateway, type TestGateway, type TestOptions } from './testing.ts';
import { chatInit } from './testing-wallet-clients.ts';

export interface WalletGateway extends AsyncDisposable {
  readonly gateway: TestGateway;
  readonly chain: LocalChain;
  readonly treasury: LocalWallet;
  /** The address of a path; of chat by default. */
  url(path?: string): URL;
  /** A new wallet with so much, and no ether: payers need none. */
  payer(units?: bigint): Promise<LocalWallet>;
  /** What the owner of a key sees of its account. */
  account(
    key: string | null,
  ): Promise<{ balance: bigint; charged: bigint; calls: readonly { outcome: string; usage: object }[] }>;
  /** How many payments are in which state. */
  payments(): Promise<Record<string, bigint>>;
  /** What the treasury has, in nano-USD. */
  treasuryNanousd(): Promise<bigint>;
  /** Where all that wallets ever paid in is now, in nano-USD, by the ledger. */
  whereabouts(): Promise<Whereabouts>;
}

interface Whereabouts {
  readonly deposited: bigint;
  /** In agents' accounts, and what gateways have leased of it for calls. */
  readonly balances: bigint;
  readonly holds: bigint;
  /** What calls were charged: the operators' part as far as it was not paid out, and the host's. */
  readonly operators: bigint;
  readonly revenue: bigint;
  /** Booked, and not yet seen on the chain; seen there. */
  readonly leaving: bigint;
  readonly paidOut: bigint;
}

const PAYER_UNITS = 50_000_000n;

/** Starts both. Without options: two keys that pay gas, and one simulated worker. */
export async function startWalletGateway(
  options: TestOptions = {},
  payments: Partial<PaymentsConfig> | ((chain: LocalChain) => Promise<Partial<PaymentsConfig>>) = {},
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
    depositConfirmations: 1n,
    confirmations: 0n,
    upto: null,
    channels: { leastDeposit: 10_000_000n, claimMinimum: 1n },
    elsewhere: { authorizer: null, mover: null },
    payouts: { holdBackSeconds: 0, everySeconds: null, minimum: 0n, withdrawalMinimum: 10_000_000n },
    ...(typeof payments === 'function' ? await payments(chain) : payments),
  };
  const config = { gatewayUrl: 'https://gate.example.com', ...options.config, payments: configured };
  const gateway = await startTestGateway({ ...options, config }).catch(async (error: unknown) => {
    await chain.stop();
    throw error;
  });
  const url = (path = '/v1/chat/completions') => new URL(path, gateway.url);
  return {
    gateway,
    chain,
    treasury,
    url,
    payer: (units = PAYER_UNITS) => chain.wallet({ usdc: units, wei: 0n }),
    account: (key) => accountOf(url, key ?? ''),
    payments: () => paymentStates(gateway),
    whereabouts: () => whereabouts(gateway),
    treasuryNanousd: async () => (await chain.usdcOf(treasury.address)) * 1_000n,
    [Symbol.asyncDispose]: async () => {
      await gateway.stop();
      await chain.stop();
    },
  };
}

async function accountOf(url: WalletGateway['url'], key: string) {
  const ask = async <Answer>(path: string) => {
    const answer = await fetch(url(path), { headers: { authorization: `Bearer ${key}` } });
    if (!answer.ok) throw new Error(await answer.text());
    return (await answer.json()) as Answer;
  };
  const { balance_nanousd } = await ask<{ balance_nanousd: string }>('/v1/account');
  const { data } = await ask<{ data: { charged_nanousd: string; outcome: string; usage: object }[] }>(
    '/v1/calls?limit=100',
  );
  const charged = data.reduce((sum, call) => sum + BigInt(call.charged_nanousd), 0n);
  return { balance: BigInt(balance_nanousd), charged, calls: data };
}

async function paymentStates({ database }: TestGateway): Promise<Record<string, bigint>> {
  const rows = await database.sql<{ state: string; count: bigint }[]>`
    select state, count(*)::bigint as count from payment group by state`;
  return Object.fromEntries(rows.map(({ state, count }) => [state, count]));
}

async function whereabouts({ database: { sql }, accountId }: TestGateway): Promise<Whereabouts> {
  const [sums] = await sql<Whereabouts[]>`
    with moved as (
      select t.kind, sum(e.amount) as amount from txn t join entry e on e.txn_id = t.id
      where t.kind in ('deposit', 'payout_paid') and e.account_id <> 'world' and e.account_id <> ${accountId} group by t.kind
    ), held as (
      -- The agent whose money a test credited by hand has none of the wallets'.
      select kind, sum(balance) as amount from account where id <> ${accountId} group by kind
    )
    select
      coalesce((select amount from moved where kind = 'deposit'), 0)::bigint as deposited,
      coalesce((select amount from held where kind = 'prepaid'), 0)::bigint as balances,
      coalesce((select amount from held where kind = 'escrow'), 0)::bigint as holds,
      coalesce((select amount from held where kind = 'earnings'), 0)::bigint as operators,
      coalesce((select amount from held where kind = 'revenue'), 0)::bigint as revenue,
      coalesce((select amount from held where kind = 'payout_pending'), 0)::bigint as leaving,
      coalesce((select -amount from moved where kind = 'payout_paid'), 0)::bigint as "paidOut"`;
  if (sums === undefined) throw new Error('nothing was summed');
  return sums;
}

/** The `offer-receipt` of an answer as the stock library reads it, once its key, which the host publishes, has verified it. */
export async function signedReceiptIn(site: Pick<WalletGateway, 'url'>, answer: Response) {
  const receipt = extractReceiptFromResponse(answer);
  if (receipt?.format !== 'jws') throw new Error('no receipt');
  const [head = ''] = receipt.signature.split('.');
  const { kid } = JSON.parse(Buffer.from(head, 'base64url').toString()) as { kid: string };
  const document = (await (await fetch(site.url('/.well-known/did.json'))).json()) as {
    verificationMethod: { id: string; publicKeyJwk: object }[];
  };
  const method = document.verificationMethod.find(({ id }) => id === kid);
  return verifyReceiptSignatureJWS(receipt, method?.publicKeyJwk as Parameters<typeof verifyReceiptSignatureJWS>[1]);
}

/** One for those tests of a file that leave nothing behind that another could trip over: made for the first that asks, ended after the last. */
export function shared<Made>(make: () => Promise<Made>, siteOf: (made: Made) => AsyncDisposable): () => Promise<Made> {
  let common: Promise<Made> | null = null;
  afterAll(async () => {
    if (common !== null) await siteOf(await common)[Symbol.asyncDispose]();
  });
  return () => {
    common ??= make();
    return common;
  };
}

/** Sends payments made by a property: none is ever a fault of ours. */
export function sendAll(site: WalletGateway, payments: fc.Arbitrary<string>, numRuns: number): Promise<void> {
  return fc.assert(
    fc.asyncProperty(payments, async (payment) => {
      const header = Buffer.from(payment).toString('base64');
      const answer = await fetch(site.url(), chatInit({}, { 'payment-signature': header }));
      await answer.text();
      expect([200, 400, 402, 409]).toContain(answer.status);
    }),
    { numRuns },
  );
}

export async function errorCode(answer: Response): Promise<string> {
  return ((await answer.json()) as { error: { code: string } }).error.code;
}

/** The same request with more headers. */
export function withHeaders(init: RequestInit, headers: Readonly<Record<string, string>>): RequestInit {
  return { ...init, headers: { ...(init.headers as Record<string, string>), ...headers } };
}

/** A request to pay ahead. */
export function topupInit(nanousd: bigint, headers: Readonly<Record<string, string>> = {}): RequestInit {
  const body = JSON.stringify({ nanousd: String(nanousd) });
  return { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body };
}
