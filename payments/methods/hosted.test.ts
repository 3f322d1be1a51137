/** T21: a facilitator is somebody else: what it says is a hint, and the chain is asked. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import type { Authorization, Hex } from './authorization.ts';
import type { Evm } from './evm.ts';
import { type PaymentSite, startPaymentSite } from './testing.ts';

interface Settle {
  payload: { authorization: Record<keyof Authorization, string>; signature: Hex };
}

interface Facilitator extends AsyncDisposable {
  readonly url: string;
}

const UNITS = 2_000_000n;

/** A facilitator that answers `settle` as told; null: never. */
async function facilitator(settle: (request: Settle) => Promise<object | null>): Promise<Facilitator> {
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { paymentPayload } = JSON.parse(Buffer.concat(chunks).toString()) as { paymentPayload: Settle };
    const answer = await settle(paymentPayload);
    if (answer !== null) response.setHeader('content-type', 'application/json').end(JSON.stringify(answer));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
}

/** Sends the transfer as an honest facilitator does. */
async function honest(site: PaymentSite, evm: Evm, { payload }: Settle): Promise<Hex> {
  const { from, to, value, validAfter, validBefore, nonce } = payload.authorization;
  const call = evm.transferCall({
    from: from as Hex,
    to: to as Hex,
    value: BigInt(value),
    validAfter: BigInt(validAfter),
    validBefore: BigInt(validBefore),
    nonce: nonce as Hex,
    signature: payload.signature,
  });
  const sponsor = await site.chain.wallet();
  return site.chain.client.sendTransaction({ account: sponsor.account, ...call, gas: 150_000n });
}

const says = (transaction: string) => ({ success: true, transaction, network: 'eip155:84532', payer: '0x' });

async function fund(site: PaymentSite, settle: (request: Settle, evm: Evm) => Promise<object | null>) {
  const { evm } = site.open();
  await using hosted = await facilitator((request) => settle(request, evm));
  const { deposits } = site.open({ facilitator: { url: hosted.url, key: 'secret' }, gasKeys: [], waitMs: 400 });
  const payer = await site.chain.wallet({ usdc: UNITS, wei: 0n });
  const outcome = await deposits.fund('x402', await site.authorize(payer, UNITS), null);
  return { code: 'code' in outcome ? outcome.code : 'funded', balance: await site.balance(payer), payer };
}

test('T21: what an honest facilitator settles is credited', async () => {
  await using site = await startPaymentSite();
  const { code, balance } = await fund(site, async (request, evm) => says(await honest(site, evm, request)));
  expect([code, balance]).toEqual(['funded', 2_000_000_000n]);
});

test('T21: a facilitator that says success and does nothing gets nothing credited', async () => {
  await using site = await startPaymentSite();
  const { code, balance } = await fund(site, async () => says(`0x${'ab'.repeat(32)}`));
  expect([code, balance]).toEqual(['unknown', null]);
});

test('T21: a facilitator that shows another payment’s transaction gets nothing credited twice', async () => {
  await using site = await startPaymentSite();
  let shown: Hex = '0x';
  const first = await fund(site, async (request, evm) => {
    shown = await honest(site, evm, request);
    return says(shown);
  });
  expect(first.code).toBe('funded');
  const { code, balance } = await fund(site, async () => says(shown));
  expect([code, balance]).toEqual(['unknown', null]);
  expect(await site.chain.usdcOf(site.treasury.address)).toBe(UNITS);
});

test('T7: a facilitator that settles and then never answers, or says that it failed, is overruled by the chain', async () => {
  await using site = await startPaymentSite();
  for (const answer of [null, { success: false, errorReason: 'nope', transaction: '', network: 'eip155:84532' }]) {
    const { code, balance } = await fund(site, async (request, evm) => {
      await honest(site, evm, request);
      return answer;
    });
    expect([code, balance]).toEqual(['funded', 2_000_000_000n]);
  }
});
