import { expect, test } from 'vitest';
import { inTransaction } from '../retry.ts';
import { NotSent } from './sender.ts';
import { type PaymentSite, startPaymentSite } from './testing.ts';

/** A transaction that anybody can send: approve nothing. */
function outgoing(site: PaymentSite, purpose: string) {
  const data = `0x095ea7b3${'00'.repeat(12)}${'11'.repeat(20)}${'00'.repeat(32)}` as const;
  return { purpose, to: site.chain.network.usdc.address.toLowerCase() as `0x${string}`, data, gas: 100_000n };
}

async function rows(site: PaymentSite) {
  return site.database.sql<{ purpose: string; state: string; nonce: bigint; replacements: number }[]>`
    select purpose, state, nonce, replacements from chain_transaction order by signer_id, nonce`;
}

test('T17: a hundred transactions at once from two gateways and three keys all land, in turn', async () => {
  await using site = await startPaymentSite();
  const keys = await Promise.all(Array.from({ length: 3 }, () => site.chain.wallet()));
  const gasKeys = keys.map(({ privateKey }) => privateKey);
  const [first, second] = [site.open({ gasKeys }).sender, site.open({ gasKeys }).sender];
  const end = first.tend();
  const sent = Array.from({ length: 100 }, (_, at) => (at % 2 ? first : second).send(outgoing(site, `number ${at}`)));
  const hashes = await Promise.all(sent);
  end();
  const receipts = hashes.map((hash) => site.chain.client.waitForTransactionReceipt({ hash }));
  expect((await Promise.all(receipts)).every(({ status }) => status === 'success')).toBe(true);
  const tended = async () => {
    await second.tendOnce();
    return (await rows(site)).every(({ state }) => state === 'mined');
  };
  await expect.poll(tended, { timeout: 10_000 }).toBe(true);
});

test('one purpose is one transaction, whoever sends it and however often', async () => {
  await using site = await startPaymentSite();
  const senders = [site.open().sender, site.open().sender];
  const hashes = await Promise.all([0, 1, 0, 1].map((at) => senders[at]?.send(outgoing(site, 'once'))));
  expect(new Set(hashes).size).toBe(1);
  expect(await rows(site)).toHaveLength(1);
});

test('T8: a transaction that was stored, and whose gateway stopped before it signed or sent it, is sent by the next', async () => {
  await using site = await startPaymentSite();
  const { sender } = site.open();
  await sender.register();
  await inTransaction(site.database.sql, (tx) => sender.enqueue(tx, outgoing(site, 'stored')));
  expect(await sender.find(site.database.sql, 'stored')).toEqual({ state: 'pending', hash: null });
  const next = site.open().sender;
  const tended = async () => {
    await next.tendOnce();
    return (await next.find(site.database.sql, 'stored'))?.state;
  };
  await expect.poll(tended, { timeout: 10_000 }).toBe('mined');
});

test('T17: a transaction that is stuck for its price is replaced by a dearer one of the same nonce', async () => {
  await using site = await startPaymentSite();
  const { sender } = site.open();
  await site.chain.client.setAutomine(false);
  const hash = await sender.send(outgoing(site, 'stuck'));
  await site.chain.client.dropTransaction({ hash });
  await site.chain.client.setNextBlockBaseFeePerGas({ baseFeePerGas: 50_000_000_000n });
  await site.chain.client.mine({ blocks: 1 });
  await site.database.sql`update chain_transaction set sent_at = now() - interval '1 minute'`;
  await sender.tendOnce();
  await site.chain.client.mine({ blocks: 1 });
  const tended = async () => {
    await sender.tendOnce();
    return (await rows(site))[0];
  };
  await expect.poll(tended, { timeout: 10_000 }).toMatchObject({ state: 'mined', nonce: 0n, replacements: 1 });
  expect((await sender.find(site.database.sql, 'stuck'))?.hash).not.toBe(hash);
});

test('T21: a queue that is full refuses before anything is stored', async () => {
  await using site = await startPaymentSite();
  const { sender } = site.open();
  await sender.register();
  await site.chain.client.setAutomine(false);
  for (let at = 0; at < 16; at++) await sender.send(outgoing(site, `waiting ${at}`));
  const more = inTransaction(site.database.sql, (tx) => sender.enqueue(tx, outgoing(site, 'one too many')));
  await expect(more).rejects.toThrow(NotSent);
  expect(await rows(site)).toHaveLength(16);
});
