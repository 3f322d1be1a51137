/**
 * Very many calls by very many wallets. Every second one uses the key that its first payment brought; the others pay for each call, and take
 * home at the end what is left.
 */
import type { LocalChain, LocalWallet } from '../../payments/chain/local.ts';
import { chatInit, mppFetch, patiently, x402Fetch } from '../testing-wallet-clients.ts';

export interface WalletRun {
  readonly url: string;
  readonly chain: LocalChain;
  readonly wallets: number;
  readonly callsEach: number;
  /** What each wallet has, in the smallest unit. */
  readonly units: bigint;
  readonly model: string;
  /** So many calls begin in a second, of all wallets in turn; absent: each wallet calls again at once. */
  readonly perSecond?: number;
}

interface PaidCall {
  readonly id: string;
  /** When the first byte of its stream was read, in milliseconds since 1970. */
  readonly firstByteMs: number;
}

export interface WalletSums {
  readonly calls: number;
  readonly payments: number;
  /** In nano-USD: what left the wallets, what came home to them, what their accounts have, what their calls were charged. */
  readonly paid: bigint;
  readonly withdrawn: bigint;
  readonly balances: bigint;
  readonly charged: bigint;
  /** By the hash of a payment's transaction. */
  readonly paidCalls: ReadonlyMap<string, PaidCall>;
}

const ASKED_MOST = 12;
const NANOUSD_PER_UNIT = 1_000n;

/** Makes the calls, takes money home, and asks each account at the end. Throws when one fails. */
export async function callFromWallets(run: WalletRun): Promise<WalletSums> {
  const { chain, wallets, units } = run;
  const paidCalls = new Map<string, PaidCall>();
  const owners = await Promise.all(Array.from({ length: wallets }, () => chain.wallet({ usdc: units, wei: 0n })));
  const startMs = performance.now();
  const keys = await Promise.all(owners.map((owner, at) => callFrom(run, owner, at, { startMs, paidCalls })));
  const left = sum(await Promise.all(owners.map(({ address }) => chain.usdcOf(address))));
  const withdrawals = await Promise.all(keys.map((key, at) => (at % 2 === 0 ? withdraw(run.url, key) : 0n)));
  const home = sum(await Promise.all(owners.map(({ address }) => chain.usdcOf(address)))) - left;
  const withdrawn = sum(withdrawals);
  if (home * NANOUSD_PER_UNIT !== withdrawn)
    throw new Error(`${withdrawn} nano-USD were to come home, and ${home} units did`);
  const accounts = await Promise.all(keys.map((key) => accountOf(run.url, key)));
  return {
    calls: accounts.reduce((all, { calls }) => all + calls, 0),
    payments: paidCalls.size,
    paid: (units * BigInt(wallets) - left) * NANOUSD_PER_UNIT,
    withdrawn,
    balances: sum(accounts.map(({ balance }) => balance)),
    charged: sum(accounts.map(({ charged }) => charged)),
    paidCalls,
  };
}

function sum(amounts: readonly bigint[]): bigint {
  return amounts.reduce((all, amount) => all + amount, 0n);
}

/** Takes home all that is free, and waits until the chain has carried it out; answers how much, in nano-USD. */
async function withdraw(url: string, key: string): Promise<bigint> {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  // Each waits some seconds for the chain.
  for (let asked = 0; asked < ASKED_MOST; asked++) {
    const body = JSON.stringify({ reference: 'home' });
    const answer = await fetch(new URL('/v1/withdrawals', url), { method: 'POST', headers, body });
    const payout = (await answer.json()) as { state: string; nanousd: string };
    if (!answer.ok) throw new Error(JSON.stringify(payout));
    if (payout.state === 'paid') return BigInt(payout.nanousd);
  }
  throw new Error('a withdrawal is not carried out');
}

/** One wallet's calls, one after the other; answers its key. */
async function callFrom(
  run: WalletRun,
  owner: LocalWallet,
  at: number,
  { startMs, paidCalls }: { startMs: number; paidCalls: Map<string, PaidCall> },
): Promise<string> {
  const pay = at % 4 < 2 ? x402Fetch(owner.account, patiently) : mppFetch(owner.account, patiently);
  let key = '';
  for (let call = 0; call < run.callsEach; call++) {
    const dueMs = run.perSecond === undefined ? 0 : startMs + ((call * run.wallets + at) * 1_000) / run.perSecond;
    await new Promise((due) => setTimeout(due, Math.max(0, dueMs - performance.now())));
    const headers = at % 2 === 1 && key !== '' ? { authorization: `Bearer ${key}` } : undefined;
    const init = chatInit({ model: run.model, stream: true }, headers);
    const answer = await pay(new URL('/v1/chat/completions', run.url), init);
    key ||= answer.headers.get('x-faregate-key') ?? '';
    const reader = answer.body?.getReader();
    let text = '';
    for (let part = await reader?.read(); part !== undefined && !part.done; part = await reader?.read()) {
      if (text === '') noteFirstByte(answer.headers, paidCalls);
      text += new TextDecoder().decode(part.value);
    }
    if (answer.status !== 200 || !text.includes('[DONE]'))
      throw new Error(`call ${call} of wallet ${at}: ${answer.status} ${text}`);
  }
  return key;
}

function noteFirstByte(headers: Headers, paidCalls: Map<string, PaidCall>): void {
  const firstByteMs = performance.timeOrigin + performance.now();
  const transaction = transactionOf(headers);
  if (transaction !== '') paidCalls.set(transaction, { id: headers.get('x-faregate-call') ?? '', firstByteMs });
}

/** The transaction that a response names, by either protocol; empty for one that was paid from balance. */
function transactionOf(headers: Headers): string {
  const receipt = headers.get('payment-response') ?? headers.get('payment-receipt');
  if (receipt === null) return '';
  const { transaction, reference } = JSON.parse(Buffer.from(receipt, 'base64').toString()) as Record<string, string>;
  return transaction ?? reference ?? '';
}

async function accountOf(url: string, key: string) {
  const ask = async <Answer>(path: string) => {
    const answer = await fetch(new URL(path, url), { headers: { authorization: `Bearer ${key}` } });
    if (!answer.ok) throw new Error(await answer.text());
    return (await answer.json()) as Answer;
  };
  const { balance_nanousd } = await ask<{ balance_nanousd: string }>('/v1/account');
  const { data } = await ask<{ data: { charged_nanousd: string }[] }>('/v1/calls?limit=100');
  const charged = data.reduce((sum, call) => sum + BigInt(call.charged_nanousd), 0n);
  return { balance: BigInt(balance_nanousd), charged, calls: data.length };
}
