/** Wallets that pay at the edge: verified and held on Workers, sent and credited by the gateway on Node, over one Postgres. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { offeredBy } from '../testing-channels.ts';
import { chatInit, mppFetch, paymentFor, x402Fetch } from '../testing-wallet-clients.ts';
import { errorCode, startWalletGateway, topupInit, type WalletGateway, withHeaders } from '../testing-wallets.ts';
import { type Edge, startEdge } from './edge.ts';

const NAME = 'https://gate.example.com';

let site: WalletGateway;
let edge: Edge;

beforeAll(async () => {
  site = await startWalletGateway();
  edge = await startEdge(site.gateway.database.url, {
    FAREGATE_URL: NAME,
    FAREGATE_NETWORK: 'base-sepolia',
    FAREGATE_RPC_URL: site.chain.url,
    FAREGATE_PAY_TO: site.treasury.address,
  });
});

afterAll(async () => {
  await edge.stop();
  await site[Symbol.asyncDispose]();
});

const at = (path = '/v1/chat/completions') => new URL(path, edge.url);

/** Runs what pays, and says what the treasury got meanwhile. */
async function paidMeanwhile<Answer>(work: () => Promise<Answer>): Promise<[Answer, bigint]> {
  const before = await site.treasuryNanousd();
  const answer = await work();
  return [answer, (await site.treasuryNanousd()) - before];
}

test.each([
  ['x402', x402Fetch, 'payment-response'],
  ['mppx', mppFetch, 'payment-receipt'],
] as const)(
  'the stock %s client pays a streaming call at the edge, and keeps its change',
  async (_name, pay, receipt) => {
    const payer = await site.payer();
    const [answer, paid] = await paidMeanwhile(() => pay(payer.account)(at(), chatInit({ stream: true })));
    const text = await answer.text();
    expect(answer.status, text).toBe(200);
    expect(text).toContain('data: [DONE]');
    expect(answer.headers.get(receipt)).toBeTruthy();
    expect(paid).toBe(BigInt(answer.headers.get('x-faregate-deposited-nanousd') ?? 0));
    expect(paid).toBeGreaterThan(0n);
    const key = answer.headers.get('x-faregate-key');
    const { balance, charged, calls } = await site.account(key);
    expect(calls).toMatchObject([{ outcome: 'complete' }]);
    expect(charged).toBeGreaterThan(0n);
    expect(balance + charged).toBe(paid);
  },
);

test('a key that the edge gave out works on Node, and one that Node gave out at the edge, from one balance', async () => {
  const payer = await site.payer();
  const topup = await x402Fetch(payer.account)(at('/v1/topups'), topupInit(30_000_000n));
  const { key, balance_nanousd } = (await topup.json()) as { key: string; balance_nanousd: string };
  expect([topup.status, balance_nanousd]).toEqual([200, '30000000']);
  const left = await site.chain.usdcOf(payer.address);
  for (const url of [site.url(), at(), site.url()]) {
    const answer = await fetch(url, chatInit({ stream: true }, { authorization: `Bearer ${key}` }));
    expect(await answer.text()).toContain('[DONE]');
  }
  expect(await site.chain.usdcOf(payer.address)).toBe(left);
  const { balance, charged, calls } = await site.account(key);
  expect(calls).toHaveLength(3);
  expect(balance + charged).toBe(30_000_000n);
});

test('T1, T2: of ten copies of one payment, at the edge and on Node at once, one runs the model, and its money is credited once', async () => {
  const payer = await site.payer();
  const paid = withHeaders(chatInit(), await paymentFor(payer.account, at(), chatInit()));
  const [answers, deposited] = await paidMeanwhile(() =>
    Promise.all(Array.from({ length: 10 }, (_, copy) => fetch(copy % 2 === 0 ? at() : site.url(), paid))),
  );
  const statuses = answers.map(({ status }) => status);
  expect(statuses.filter((status) => status === 200)).toHaveLength(1);
  expect(statuses.filter((status) => status === 409)).toHaveLength(9);
  const key = answers.map(({ headers }) => headers.get('x-faregate-key')).find((shown) => shown !== null);
  const { balance, charged, calls } = await site.account(key ?? null);
  expect(calls).toHaveLength(1);
  expect(balance + charged).toBe(deposited);
});

test('while a payment is being settled its copies are told so, and when it was used they are told that', async () => {
  const payer = await site.payer();
  const paid = withHeaders(chatInit(), await paymentFor(payer.account, at(), chatInit()));
  await site.chain.client.setAutomine(false);
  const waiting = fetch(at(), paid);
  await expect.poll(async () => (await site.chain.client.getTxpoolStatus()).pending).toBe(1);
  const copy = await fetch(at(), paid);
  expect([copy.status, await errorCode(copy)]).toEqual([409, 'request_in_progress']);
  await site.chain.client.mine({ blocks: 1 });
  await site.chain.client.setAutomine(true);
  expect((await waiting).status).toBe(200);
  const again = await fetch(at(), paid);
  expect([again.status, await errorCode(again)]).toEqual([409, 'payment_used']);
});

test('where the edge is not told whose keys claim and move, neither channels nor `upto` are offered, taken or refunded there', async () => {
  const { accepts, extensions } = offeredBy(await fetch(at(), chatInit()));
  expect(accepts.map(({ scheme }) => scheme)).toEqual(['exact']);
  expect(extensions).not.toHaveProperty('eip2612GasSponsoring');
  expect((await fetch(at())).status).toBe(405);
});

test('a wallet that has not the money is refused at the edge, with a new offer, and nothing is sent', async () => {
  const poor = await site.payer(0n);
  const [refused, moved] = await paidMeanwhile(() => x402Fetch(poor.account)(at(), chatInit()));
  expect([refused.status, await errorCode(refused), moved]).toEqual([402, 'payment_invalid', 0n]);
  expect(refused.headers.has('payment-required') && refused.headers.has('www-authenticate')).toBe(true);
});
