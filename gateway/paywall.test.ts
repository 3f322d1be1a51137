import { expect, test } from 'vitest';
import { chatInit, mppFetch, startWalletGateway, x402Fetch } from './testing-wallets.ts';

test('a stock x402 client without a key pays, is answered as it streams, and keeps its change under a key', async () => {
  await using site = await startWalletGateway();
  const { gateway, chain, treasury } = site;
  const payer = await chain.wallet({ usdc: 2_000_000n, wei: 0n });
  const url = new URL('/v1/chat/completions', gateway.url);
  const answer = await x402Fetch(payer.account)(url, chatInit({ stream: true }));
  const text = await answer.text();
  expect(answer.status, text).toBe(200);
  expect(text).toContain('data: [DONE]');
  const key = answer.headers.get('x-faregate-key') ?? '';
  const paid = await chain.usdcOf(treasury.address);
  expect(await chain.usdcOf(payer.address)).toBe(2_000_000n - paid);
  const account = await fetch(new URL('/v1/account', gateway.url), { headers: { authorization: `Bearer ${key}` } });
  const { balance_nanousd } = (await account.json()) as { balance_nanousd: string };
  const calls = await fetch(new URL('/v1/calls', gateway.url), { headers: { authorization: `Bearer ${key}` } });
  const [call] = ((await calls.json()) as { data: { charged_nanousd: string }[] }).data;
  expect(BigInt(balance_nanousd) + BigInt(call?.charged_nanousd ?? 0)).toBe(paid * 1_000n);
});

test('a stock MPP client pays the same 402', async () => {
  await using site = await startWalletGateway();
  const { gateway, chain } = site;
  const payer = await chain.wallet({ usdc: 2_000_000n, wei: 0n });
  const answer = await mppFetch(payer.account)(new URL('/v1/chat/completions', gateway.url), chatInit());
  expect(answer.status, await answer.clone().text()).toBe(200);
  expect(answer.headers.get('payment-receipt') ?? answer.headers.get('payment-response')).toBeTruthy();
});
