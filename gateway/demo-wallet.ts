/** `faregate demo --wallet`: an agent that has a wallet and nothing else, on a chain of its own. */
import type { LocalChain, LocalWallet } from '../payments/chain/local.ts';
import type { PaymentsConfig } from '../payments/methods/open.ts';
import { usdLiteral } from '../payments/money.ts';
import { nanousdOf } from '../payments/units.ts';
import { buyerFetch } from './buyer.ts';
import { client, type DemoWorld } from './demo-world.ts';
import type { RunningGateway } from './node.ts';

/** One line of the demo's second table. */
export type WalletStep = Readonly<Record<'step' | 'moved $' | 'wallet $' | 'balance $' | 'transaction', string>>;

export interface DemoChain {
  readonly chain: LocalChain;
  readonly payments: PaymentsConfig;
}

const AGENT_UNITS = 5_000_000n;
/** Ten cents. */
const MOST_UNITS_AT_ONCE = 100_000n;
const LEAST_NANOUSD = 1_000_000n;
/** The first call pays for the longest answer that it allows: what it does not need is there for the next. */
const FIRST_TOKENS = 2_000;
const NEXT_TOKENS = 200;
const NO_MOVE = '–';

/** Starts the chain, with a treasury and a key for gas that only this run knows. */
export async function startDemoChain(): Promise<DemoChain> {
  const { startLocalChain } = await import('../payments/chain/local.ts');
  const chain = await startLocalChain();
  const [treasury, gas] = [await chain.wallet({ wei: 0n }), await chain.wallet()];
  const payments: PaymentsConfig = {
    network: chain.network,
    rpcUrls: [chain.url],
    treasuryKey: treasury.privateKey,
    payTo: null,
    gasKeys: [gas.privateKey],
    facilitator: null,
    leastNanousd: LEAST_NANOUSD,
    depositConfirmations: 1n,
    confirmations: 0n,
    channels: null,
    elsewhere: { authorizer: null, mover: null },
    upto: null,
    payouts: { holdBackSeconds: 0, everySeconds: null, minimum: 0n, withdrawalMinimum: LEAST_NANOUSD },
  };
  return { chain, payments };
}

/** Calls, pays, calls again, takes the rest home; then the operators are paid. */
export async function walletSteps(running: RunningGateway, world: DemoWorld, chain: LocalChain): Promise<WalletStep[]> {
  const wallet = await chain.wallet({ usdc: AGENT_UNITS, wei: 0n });
  const steps: WalletStep[] = [];
  const note = async (step: string, moved: unknown, key: string | null, transaction: unknown) => {
    const account = key === null ? null : await client(`${running.url}/v1`, key)('GET', '/account');
    steps.push({
      step,
      'moved $': moved === null ? NO_MOVE : dollars(moved),
      'wallet $': usdLiteral(nanousdOf(await chain.usdcOf(wallet.address))),
      'balance $': account === null ? NO_MOVE : dollars(account.balance_nanousd),
      transaction: transaction === null ? NO_MOVE : `${String(transaction).slice(0, 18)}…`,
    });
  };
  await note('a wallet with USDC, no ether, no key', null, null, null);
  const { key, deposited, transaction } = await callPaying(running, world, wallet, chain);
  await note('call without a key: 402, paid, answered', deposited, key, transaction);
  await (await chat(running.url, world, NEXT_TOKENS, { authorization: `Bearer ${key}` })).text();
  await note('call with the key of that answer', null, key, null);
  const withdrawal = await client(`${running.url}/v1`, key)('POST', '/withdrawals', { reference: 'demo' });
  await note('the rest goes home', withdrawal.nanousd, key, withdrawal.transaction);
  for (const payout of await payOperators(running, world, chain)) {
    await note(`payout to ${payout.name}`, payout.nanousd, null, payout.transaction);
  }
  return steps;
}

/** The call of a client that sees the 402 and pays it by itself: to this host alone, and no more than its owner means to. */
async function callPaying(
  running: RunningGateway,
  world: DemoWorld,
  { account }: LocalWallet,
  { network }: LocalChain,
) {
  const payTo = treasuryOf(running);
  const limits = { network, payTo, unitsPerPayment: MOST_UNITS_AT_ONCE, unitsInAll: AGENT_UNITS };
  const answer = await chat(running.url, world, FIRST_TOKENS, {}, await buyerFetch(account, limits));
  await answer.text();
  const { headers } = answer;
  const receipt = JSON.parse(atob(headers.get('payment-response') ?? '')) as { transaction: string };
  return {
    key: headers.get('x-faregate-key') ?? '',
    deposited: headers.get('x-faregate-deposited-nanousd'),
    transaction: receipt.transaction,
  };
}

async function chat(
  url: string,
  { model }: DemoWorld,
  maxTokens: number,
  headers: Readonly<Record<string, string>> = {},
  send: typeof fetch = fetch,
): Promise<Response> {
  const messages = [{ role: 'user', content: 'What does a fare gate do?' }];
  const answer = await send(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ model, messages, max_tokens: maxTokens, stream: true }),
  });
  if (!answer.ok) throw new Error(`the wallet's call was answered ${answer.status}: ${await answer.text()}`);
  return answer;
}

/** Tells each operator's wallet, has all of them paid, and names them. */
async function payOperators(running: RunningGateway, { operators }: DemoWorld, chain: LocalChain) {
  for (const { key } of operators) {
    const { address } = await chain.wallet({ wei: 0n });
    await client(`${running.url}/operator/v1`, key)('PUT', '/payout-settings', { address });
  }
  // What the demo credited by hand was never on the chain: there has to be as much as is owed.
  const [{ owed } = { owed: 0n }] = await running.gateway.platform.database.sql<{ owed: bigint }[]>`
    select -balance as owed from account where id = 'world'`;
  await chain.fund(treasuryOf(running), owed / nanousdOf(1n));
  const { data } = await client(`${running.url}/admin/v1`, running.adminKey)('POST', '/payouts', {});
  return (data as { account: string; nanousd: string; transaction: string | null }[]).map((payout) => ({
    ...payout,
    name: operators.find(({ id }) => id === payout.account)?.name ?? payout.account,
  }));
}

function treasuryOf({ gateway }: RunningGateway): LocalWallet['address'] {
  return gateway.payments?.payouts?.treasury.address as LocalWallet['address'];
}

function dollars(nanousd: unknown): string {
  return usdLiteral(BigInt(String(nanousd)));
}
