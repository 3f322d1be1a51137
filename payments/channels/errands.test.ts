/** Deposits and refunds that a gateway without keys leaves to those that have them. */
import { expect, test } from 'vitest';
import { Crowd } from '../methods/crowd.ts';
import type { Funded, PaymentRefusal } from '../methods/method.ts';
import { type PaymentSite, startPaymentSite } from '../methods/testing.ts';
import * as errands from './errand-rows.ts';
import { openChannels } from './open.ts';
import { channelWallet, tabOf } from './testing.ts';

const UNITS = 50_000_000n;
const MOST = 5_000n;
const quiet = { warn: () => {} };

/** A gateway with keys that does errands, until it is closed. */
function keyed(site: PaymentSite, { leastDepositNanousd = 1n, key = site.treasury.privateKey } = {}) {
  const { evm, sender } = site.open({ channels: null });
  const { sql } = site.database;
  const crowd = new Crowd({ atOnce: 64, atOncePerPayer: 64 });
  const common = { sql, evm, sender, log: quiet, crowd, sign: null, waitMs: 5_000, timeoutSeconds: 300 };
  return openChannels({ ...common, authorizerKey: key, payTo: site.treasury.address, leastDepositNanousd });
}

async function wallet(site: PaymentSite) {
  return channelWallet(site, await site.chain.wallet({ usdc: UNITS, wei: 0n }));
}

function codeOf(outcome: Funded | PaymentRefusal): string {
  return 'code' in outcome ? outcome.code : 'funded';
}

const sent = ({ database }: PaymentSite) => database.sql`select purpose from chain_transaction`;

test('of three gateways with keys one brings a deposit, and the gateway without keys spends it by vouchers and never asks again', async () => {
  await using site = await startPaymentSite();
  const helpers = [keyed(site), keyed(site), keyed(site)];
  const keyless = site.openKeyless();
  const payer = await wallet(site);
  for (let call = 0; call < 3; call++) {
    const signed = await payer.sign(keyless, MOST);
    const { tab } = tabOf(await signed.payment.fund(null, MOST));
    const head = tab.receipt(null);
    await tab.close(0n);
    await signed.tell(200, head);
  }
  expect(await sent(site)).toHaveLength(1);
  expect(await site.database.sql`select from channel_errand`).toHaveLength(1);
  await Promise.all(helpers.map(({ close }) => close()));
});

test('with nobody to bring it a deposit is refused as unavailable, nothing is sent then or later, and the same is good when somebody is there', async () => {
  await using site = await startPaymentSite();
  const payer = await wallet(site);
  const signed = await payer.sign(site.openKeyless(), MOST);
  expect(codeOf(await signed.payment.fund(null, MOST))).toBe('unavailable');
  expect(await site.database.sql`select from channel_errand`).toHaveLength(0);
  const helper = keyed(site);
  expect(codeOf(await signed.payment.fund(null, MOST))).toBe('funded');
  await helper.close();
}, 20_000);

test('T7: a deposit whose taker died is unknown, not failed; asked for again it is made, once', async () => {
  await using site = await startPaymentSite();
  const payer = await wallet(site);
  const signed = await payer.sign(site.openKeyless({ waitMs: 500 }), MOST);
  const asking = signed.payment.fund(null, MOST);
  await expect.poll(() => site.database.sql`update channel_errand set taken_at = now() returning id`).toHaveLength(1);
  expect(codeOf(await asking)).toBe('unknown');
  const helper = keyed(site);
  expect(codeOf(await (await payer.sign(site.openKeyless(), MOST)).payment.fund(null, MOST))).toBe('funded');
  expect(await sent(site)).toHaveLength(1);
  await helper.close();
});

test('T11: what the gateway with the keys would not take itself it does not bring for another', async () => {
  await using site = await startPaymentSite();
  const strict = keyed(site, { leastDepositNanousd: 10n ** 12n });
  const signed = await (await wallet(site)).sign(site.openKeyless(), MOST);
  expect(codeOf(await signed.payment.fund(null, MOST))).toBe('invalid');
  const { sql } = site.database;
  await sql`insert into channel_errand (id, authorizer, sent) values (gen_random_uuid(), ${site.treasury.address.toLowerCase()}, '{"x402Version":2}')`;
  await expect.poll(() => sql`select from channel_errand where answer is null`).toHaveLength(0);
  expect(await sql`select distinct answer->>'code' as code from channel_errand`).toEqual([{ code: 'invalid' }]);
  expect(await sent(site)).toHaveLength(0);
  await strict.close();
});

test('an errand that nobody waits for any more is never done', async () => {
  await using site = await startPaymentSite();
  const { sql } = site.database;
  const authorizer = '0xab' as const;
  const of = { authorizer, sent: {}, most: 2 };
  await errands.ask(sql, of);
  await sql`update channel_errand set created_at = now() - interval '2 minutes'`;
  const fresh = await errands.ask(sql, of);
  expect((await errands.take(sql, authorizer, 10)).map(({ id }) => id)).toEqual([fresh]);
});

test('a channel whose claims another key would sign is not served: nobody here could claim from it', async () => {
  await using site = await startPaymentSite();
  const stranger = await site.chain.wallet();
  const other = keyed(site, { key: stranger.privateKey });
  const signed = await (await wallet(site)).sign(site.openKeyless(), MOST);
  expect(codeOf(await signed.payment.fund(null, MOST))).toBe('unavailable');
  expect(await sent(site)).toHaveLength(0);
  await other.close();
}, 20_000);

test('T21: more errands at once than there is room for are told to come back', async () => {
  await using site = await startPaymentSite();
  const keyless = site.openKeyless({ atOnce: 2 });
  const payers = await Promise.all([1, 2, 3].map(() => wallet(site)));
  const all = await Promise.all(payers.map((payer) => payer.sign(keyless, MOST)));
  const [first, second, third] = all.map(({ payment }) => payment.fund(null, MOST));
  void [first, second, third];
  await expect.poll(() => site.database.sql`select from channel_errand`).toHaveLength(2);
  const codes = await Promise.all([first, second, third].map(async (fund) => codeOf((await fund) as Funded)));
  expect(codes).toEqual(['unavailable', 'unavailable', 'unavailable']);
}, 20_000);
