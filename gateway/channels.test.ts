import { expect, test } from 'vitest';
import { channelsOf, claimNow, wholeUnits } from './testing-channels.ts';
import { channelClient, chatInit } from './testing-wallet-clients.ts';
import { startWalletGateway } from './testing-wallets.ts';

test('T18: a stock client opens a channel, pays twenty streams by vouchers, and what they cost is claimed and paid out', async () => {
  await using site = await startWalletGateway();
  const payer = await site.payer();
  let requests = 0;
  const counting: typeof fetch = (...args) => {
    requests++;
    return fetch(...args);
  };
  const client = channelClient(site.chain, payer.account, { inner: counting });
  for (let call = 0; call < 20; call++) {
    const answer = await client.fetch(site.url(), chatInit({ stream: true }));
    const text = await answer.text();
    expect(answer.status, text).toBe(200);
    expect(text).toContain('data: [DONE]');
  }
  // Each call is asked for and paid: none is refused on the way.
  expect(requests).toBe(40);
  const [channel, ...others] = await channelsOf(site);
  expect(others).toEqual([]);
  expect(channel?.calls).toBe(20n);
  expect(await site.chain.usdcOf(site.treasury.address)).toBe(0n);
  await claimNow(site);
  const paid = wholeUnits(channel?.charged ?? 0n);
  expect(paid).toBeGreaterThan(0n);
  expect(await site.chain.usdcOf(site.treasury.address)).toBe(paid);
  expect((await channelsOf(site))[0]).toMatchObject({ claimed: paid });
});
