/** What a host risks with payers on credit: no more of one than the cap, and nobody twice. */
import { expect, test } from 'vitest';
import { offeredBy, wholeUnits } from './testing-channels.ts';
import { approve, CAP, onCredit, paymentsOf, settleNow } from './testing-upto.ts';
import { chatInit, uptoFetch, uptoPayment } from './testing-wallet-clients.ts';
import { errorCode, shared, startWalletGateway, withHeaders } from './testing-wallets.ts';

const common = shared(
  () => startWalletGateway({}, onCredit),
  (site) => site,
);

test('T3: of ten maxima of a payer at once that has the money for one, one is served and nine are refused before any work', async () => {
  const site = await common();
  const init = chatInit();
  const most = BigInt(
    offeredBy(await fetch(site.url(), init)).accepts.find(({ scheme }) => scheme === 'upto')?.amount ?? 0,
  );
  const payer = await site.payer(most);
  await approve(site, payer);
  const headers = await Promise.all(
    Array.from({ length: 10 }, () => uptoPayment(site.chain, payer.account, site.url(), init)),
  );
  const answers = await Promise.all(headers.map((header) => fetch(site.url(), withHeaders(init, header))));
  expect(answers.map(({ status }) => status).filter((status) => status === 200)).toHaveLength(1);
  expect(answers.map(({ status }) => status).filter((status) => status === 402)).toHaveLength(9);
  expect(await paymentsOf(site, payer)).toHaveLength(1);
  await settleNow(site);
});

test('T3: a payer with much money has no more open at once than the risk cap', async () => {
  await using site = await startWalletGateway({ simulators: [{ rttMs: 300 }] }, onCredit);
  const payer = await site.payer(50_000_000n);
  await approve(site, payer);
  const init = chatInit({ max_tokens: 64 });
  const offered = offeredBy(await fetch(site.url(), init)).accepts.find(({ scheme }) => scheme === 'upto');
  const most = BigInt(offered?.amount ?? 0) * 1_000n;
  const fit = Number(CAP / most);
  const headers = await Promise.all(
    Array.from({ length: fit + 3 }, () => uptoPayment(site.chain, payer.account, site.url(), init)),
  );
  const answers = await Promise.all(headers.map((header) => fetch(site.url(), withHeaders(init, header))));
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(fit);
  const refused = answers.filter(({ status }) => status === 402);
  expect(refused).toHaveLength(3);
  for (const answer of refused) expect(await errorCode(answer)).toBe('payment_invalid');
  await settleNow(site);
  expect((await paymentsOf(site, payer)).every(({ state }) => state === 'settled')).toBe(true);
});

test('T4: who empties its wallet between verify and settle costs one call within the cap, and is refused afterwards', async () => {
  await using site = await startWalletGateway({}, onCredit);
  const payer = await site.payer(5_000_000n);
  const pay = uptoFetch(site.chain, payer.account);
  const answer = await pay(site.url(), chatInit({ stream: true, max_tokens: 200, min_tokens: 200 }));
  expect(answer.status).toBe(200);
  await site.chain.fund(payer.address, 0n);
  expect(await answer.text()).toContain('[DONE]');
  await settleNow(site);
  const [payment] = await paymentsOf(site, payer);
  expect(payment?.state).toBe('lost');
  expect(payment?.charged ?? 0n).toBeLessThanOrEqual(CAP);
  await site.chain.fund(payer.address, 5_000_000n);
  const again = await pay(site.url(), chatInit());
  expect([again.status, await errorCode(again)]).toEqual([402, 'payment_invalid']);
  const [shortfall] = await site.gateway.database.sql<
    { balance: bigint }[]
  >`select balance from account where id = 'shortfall'`;
  expect(shortfall?.balance).toBe(-(payment?.charged ?? 0n));
});

test('T3, T4: who empties its wallet while several calls run costs no more than the risk cap in all, and is refused afterwards', async () => {
  await using site = await startWalletGateway({}, onCredit);
  const payer = await site.payer(50_000_000n);
  await approve(site, payer);
  const init = chatInit({ stream: true, max_tokens: 200, min_tokens: 200 });
  const headers = await Promise.all(
    Array.from({ length: 6 }, () => uptoPayment(site.chain, payer.account, site.url(), init)),
  );
  const answers = await Promise.all(headers.map((header) => fetch(site.url(), withHeaders(init, header))));
  await site.chain.fund(payer.address, 0n);
  await Promise.all(answers.map((answer) => answer.text()));
  const served = answers.filter(({ status }) => status === 200).length;
  expect(served).toBeGreaterThan(1);
  await settleNow(site);
  const payments = await paymentsOf(site, payer);
  expect(payments.map(({ state }) => state)).toEqual(Array.from({ length: served }, () => 'lost'));
  expect(payments.reduce((sum, { charged }) => sum + (charged ?? 0n), 0n)).toBeLessThanOrEqual(CAP);
  await site.chain.fund(payer.address, 50_000_000n);
  const again = await fetch(
    site.url(),
    withHeaders(init, await uptoPayment(site.chain, payer.account, site.url(), init)),
  );
  expect([again.status, await errorCode(again)]).toEqual([402, 'payment_invalid']);
});

test('T3: two calls at once of a wallet without ether are within the one approval that it can give: the second is told to sign anew, and then served', async () => {
  const site = await common();
  const payer = await site.payer(5_000_000n);
  const init = chatInit();
  const headers = await Promise.all([1, 2].map(() => uptoPayment(site.chain, payer.account, site.url(), init)));
  const answers = await Promise.all(headers.map((header) => fetch(site.url(), withHeaders(init, header))));
  expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 402]);
  expect((await uptoFetch(site.chain, payer.account)(site.url(), init)).status).toBe(200);
  await settleNow(site);
  const payments = await paymentsOf(site, payer);
  expect(payments.map(({ state }) => state)).toEqual(['settled', 'settled']);
  const units = payments.reduce((sum, { charged }) => sum + wholeUnits(charged ?? 0n), 0n);
  expect(await site.chain.usdcOf(payer.address)).toBe(5_000_000n - units);
});
