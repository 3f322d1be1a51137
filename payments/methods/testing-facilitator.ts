/** Hosted facilitators for tests: somebody else's, who answers as told. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { LocalChain } from '../chain/local.ts';
import type { Authorization, Hex } from './authorization.ts';
import { Evm } from './evm.ts';

export interface SettleRequest {
  readonly payload: { readonly authorization: Record<keyof Authorization, string>; readonly signature: Hex };
}

interface Facilitator extends AsyncDisposable {
  readonly url: string;
}

/** One that answers `settle` as told; null: never. */
export async function startFacilitator(
  settle: (request: SettleRequest) => Promise<object | null>,
): Promise<Facilitator> {
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { paymentPayload } = JSON.parse(Buffer.concat(chunks).toString()) as { paymentPayload: SettleRequest };
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

/** Sends the transfer as an honest facilitator does, and answers its hash. */
export async function sendHonestly(chain: LocalChain, { payload }: SettleRequest): Promise<Hex> {
  const { from, to, value, validAfter, validBefore, nonce } = payload.authorization;
  const call = new Evm(chain.network, [chain.url]).transferCall({
    from: from as Hex,
    to: to as Hex,
    value: BigInt(value),
    validAfter: BigInt(validAfter),
    validBefore: BigInt(validBefore),
    nonce: nonce as Hex,
    signature: payload.signature,
  });
  const sponsor = await chain.wallet();
  return chain.client.sendTransaction({ account: sponsor.account, ...call, gas: 150_000n });
}
