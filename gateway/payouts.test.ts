import { afterAll, beforeAll, expect, test } from 'vitest';
import type { LocalWallet } from '../payments/chain/local.ts';
import { adminCommand } from './admin-command.ts';
import { asker, errorOf } from './testing-routes.ts';
import { chatInit, x402Fetch } from './testing-wallet-clients.ts';
import { startWalletGateway, topupInit, type WalletGateway } from './testing-wallets.ts';

let site: WalletGateway;

beforeAll(async () => {
  site = await startWalletGateway();
});

afterAll(async () => {
  await site[Symbol.asyncDispose]();
});

interface Agent {
  readonly payer: LocalWallet;
  readonly key: string;
  readonly ask: ReturnType<typeof asker>;
}

/** A wallet that has topped up a tenth of a dollar and made some calls. */
async function agentWithCalls(calls: number): Promise<Agent> {
  const payer = await site.payer();
  const topup = await x402Fetch(payer.account)(site.url('/v1/topups'), topupInit(100_000_000n));
  const { key } = (await topup.json()) as { key: string };
  for (let call = 0; call < calls; call++) {
    const answer = await fetch(site.url(), chatInit({ max_tokens: 8 }, { authorization: `Bearer ${key}` }));
    expect(answer.status).toBe(200);
    await answer.text();
  }
  return { payer, key, ask: asker(site.gateway.url, key) };
}

async function admin(...args: string[]): Promise<Record<string, unknown>> {
  let out = '';
  const env = { FAREGATE_DATA_DIR: site.gateway.running.gateway.platform.config.dataDir };
  const terminal = {
    env,
    out: (text: string) => {
      out += text;
    },
    err: () => {},
  };
  expect(await adminCommand([...args, '--json'], terminal)).toBe(0);
  return JSON.parse(out) as Record<string, unknown>;
}

interface Line {
  readonly kind: string;
  readonly amount_nanousd: string;
  readonly balance_nanousd: string;
  readonly transaction: string | null;
}

/** The statement, once it reaches up to the last line that must be in it. */
async function statement(path: string, key: string, last: string): Promise<Line[]> {
  for (;;) {
    const answer = await fetch(site.url(path), { headers: { authorization: `Bearer ${key}` } });
    const lines = (await answer.text())
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Line);
    if (lines.at(-2)?.kind === last) return lines;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const sum = (amounts: readonly unknown[]) =>
  amounts.reduce((total: bigint, amount) => total + BigInt(String(amount)), 0n);

test('T23: a withdrawal pays the wallet that paid in, once however often it is asked for, and the account says so', async () => {
  const { payer, key, ask } = await agentWithCalls(1);
  const had = await site.chain.usdcOf(payer.address);
  const before = BigInt(String((await ask('GET', '/v1/account')).body.balance_nanousd));
  const copies = Array.from({ length: 10 }, () => ask('POST', '/v1/withdrawals', { reference: 'home' }));
  const answers = await Promise.all(copies);
  expect(new Set(answers.map(({ body }) => body.id)).size).toBe(1);
  const paid = answers[0]?.body ?? {};
  expect(paid).toMatchObject({ state: 'paid', to: payer.address.toLowerCase(), reason: null });
  expect(await site.chain.usdcOf(payer.address)).toBe(had + BigInt(String(paid.nanousd)) / 1_000n);
  expect(BigInt(String(paid.nanousd))).toBe(before - (before % 1_000n));
  expect((await ask('GET', '/v1/account')).body.balance_nanousd).toBe(String(before % 1_000n));
  expect((await ask('GET', `/v1/withdrawals/${paid.id}`)).body).toEqual(paid);
  expect((await ask('GET', '/v1/withdrawals')).body.data).toEqual([paid]);
  const lines = await statement('/v1/statements', key, 'withdrawal');
  expect(lines.at(-2)).toMatchObject({ amount_nanousd: `-${paid.nanousd}`, transaction: paid.transaction });
  expect(lines.find(({ kind }) => kind === 'deposit')?.transaction).toMatch(/^0x/);
});

test('T23: withdrawals that race with streaming calls leave no balance below zero, and every unit is a balance, a charge or home', async () => {
  const { payer, key, ask } = await agentWithCalls(0);
  const had = await site.chain.usdcOf(payer.address);
  const call = async () => {
    const init = chatInit({ stream: true, max_tokens: 200 }, { authorization: `Bearer ${key}` });
    const answer = await fetch(site.url(), init);
    await answer.text();
    return answer.status;
  };
  const withdraw = async (reference: number) => {
    const { body } = await ask('POST', '/v1/withdrawals', { nanousd: '10000000', reference: `race ${reference % 6}` });
    return body;
  };
  const watched: bigint[] = [];
  const watch = async () => {
    for (let look = 0; look < 20; look++) {
      const { body } = await ask('GET', '/v1/account');
      watched.push(BigInt(String(body.balance_nanousd)), BigInt(String(body.available_nanousd)));
    }
  };
  const [statuses, withdrawals] = await Promise.all([
    Promise.all(Array.from({ length: 10 }, call)),
    // Each of them twice, and more in all, with the calls, than there is.
    Promise.all(Array.from({ length: 12 }, (_, n) => withdraw(n))),
    watch(),
  ]);
  expect(statuses.filter((status) => status !== 200 && status !== 402)).toEqual([]);
  const booked = new Set(withdrawals.flatMap(({ id }) => (id === undefined ? [] : [String(id)])));
  expect(booked.size).toBeGreaterThan(0);
  expect(watched.every((nanousd) => nanousd >= 0n)).toBe(true);
  await expect
    .poll(async () => {
      const { data } = (await ask('GET', '/v1/withdrawals?limit=100')).body as { data: { state: string }[] };
      return data.filter(({ state }) => state === 'paid').length;
    })
    .toBe(booked.size);
  const { balance, charged } = await site.account(key);
  const home = ((await site.chain.usdcOf(payer.address)) - had) * 1_000n;
  expect(home).toBe(10_000_000n * BigInt(booked.size));
  expect(balance + charged + home).toBe(100_000_000n);
});

test('no key withdraws that was given away for calls, and no account that no wallet paid into', async () => {
  const { ask } = await agentWithCalls(0);
  const child = await ask('POST', '/v1/keys', { name: 'for a friend' });
  const friend = asker(site.gateway.url, String(child.body.key));
  const request = { nanousd: '50000000', reference: 'mine' };
  expect(errorOf(await friend('POST', '/v1/withdrawals', request))).toMatchObject({ status: 403, code: 'forbidden' });
  const keyed = asker(site.gateway.url, site.gateway.apiKey);
  expect(errorOf(await keyed('POST', '/v1/withdrawals', request))).toMatchObject({ status: 403, code: 'forbidden' });
  const greedy = await ask('POST', '/v1/withdrawals', { nanousd: '100000001000', reference: 'all of it' });
  expect(errorOf(greedy)).toEqual({ status: 400, code: 'invalid_request', param: 'nanousd' });
  const crumbs = await ask('POST', '/v1/withdrawals', { nanousd: '1000', reference: 'crumbs' });
  expect(errorOf(crumbs)).toEqual({ status: 400, code: 'invalid_request', param: 'nanousd' });
});

test('another account’s withdrawal does not exist here', async () => {
  const [one, other] = [await agentWithCalls(0), await agentWithCalls(0)];
  const { body } = await one.ask('POST', '/v1/withdrawals', { nanousd: '50000000', reference: 'mine' });
  expect((await other.ask('GET', `/v1/withdrawals/${body.id}`)).status).toBe(404);
  expect((await other.ask('GET', '/v1/withdrawals')).body.data).toEqual([]);
});

test('an operator sees calls, earnings, payout and transaction, and the sums agree with each other and the chain', async () => {
  const { gateway, chain } = site;
  const operator = asker(gateway.url, gateway.operatorKey);
  const wallet = await chain.wallet({ wei: 0n });
  const before = await operator('GET', '/operator/v1/payout-settings');
  expect(before.body).toMatchObject({ address: null, every_hours: null });
  const silent = asker(gateway.url, gateway.running.adminKey);
  expect(errorOf(await silent('POST', '/admin/v1/payouts', { operator: gateway.operatorId }))).toEqual({
    status: 400,
    code: 'invalid_request',
    param: 'operator',
  });
  const settings = await operator('PUT', '/operator/v1/payout-settings', { address: wallet.address });
  expect(settings.body).toMatchObject({ address: wallet.address.toLowerCase() });
  const { ask } = await agentWithCalls(5);
  const { data: calls } = (await ask('GET', '/v1/calls')).body as { data: { operator_nanousd: string }[] };
  expect(calls).toHaveLength(5);

  const { data: paid } = (await admin('payout', '--reference', 'november')) as { data: Record<string, unknown>[] };
  expect(paid).toMatchObject([{ account: gateway.operatorId, state: 'paid', reference: 'november' }]);
  // The same again, and the same by another command, pay nothing more.
  expect((await admin('payout', '--reference', 'november')).data).toEqual(paid);
  expect((await admin('payout')).data).toEqual([]);
  expect((await admin('payout', 'list')).data).toEqual(paid);
  expect((await operator('GET', '/operator/v1/payouts')).body.data).toEqual(paid);

  const lines = await statement('/operator/v1/statements', gateway.operatorKey, 'payout');
  const earned = sum(lines.filter(({ kind }) => kind === 'earning').map((line) => line.amount_nanousd));
  expect(sum(calls.map((call) => call.operator_nanousd))).toBeLessThanOrEqual(earned);
  const nanousd = BigInt(String(paid[0]?.nanousd));
  expect((await operator('GET', '/operator/v1/earnings')).body).toEqual({
    earned_nanousd: String(earned),
    pending_nanousd: String(earned - nanousd),
    paid_nanousd: String(nanousd),
  });
  expect(earned - nanousd).toBeLessThan(1_000n);
  expect(lines.at(-1)?.balance_nanousd).toBe(String(earned - nanousd));
  expect(lines.at(-2)).toMatchObject({ amount_nanousd: `-${nanousd}`, transaction: paid[0]?.transaction });
  expect((await chain.usdcOf(wallet.address)) * 1_000n).toBe(nanousd);
});

test('an address with a mistyped digit, of nobody, of the token or of the treasury itself is refused', async () => {
  const { gateway, chain, treasury } = site;
  const operator = asker(gateway.url, gateway.operatorKey);
  const { address } = await chain.wallet({ wei: 0n });
  const swapped = address.replace(/[a-f]/i, (letter) =>
    letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase(),
  );
  const zero = `0x${'0'.repeat(40)}`;
  for (const wrong of [swapped, zero, chain.network.usdc.address, treasury.address, address.slice(0, -1)]) {
    const answer = await operator('PUT', '/operator/v1/payout-settings', { address: wrong });
    expect(errorOf(answer)).toEqual({ status: 400, code: 'invalid_request', param: 'address' });
  }
});

test('what the treasury has is what it owes and what the host earned, to the atomic unit', async () => {
  const { sql } = site.gateway.database;
  // The one agent of this gateway without a wallet was credited by hand: that money was never on the chain.
  const [{ owed } = { owed: 0n }] = await sql<{ owed: bigint }[]>`
    select (-w.balance - coalesce((
      select sum(e.amount) from txn t join entry e on e.txn_id = t.id
      where t.kind = 'deposit' and t.ref not like 'payment:%' and e.account_id <> 'world'
    ), 0))::bigint as owed from account w where w.id = 'world'`;
  expect(await site.treasuryNanousd()).toBe(owed);
});
