import { type TestGateway, testPrice } from '../testing.ts';
import type { ClientTarget } from './client-target.ts';

const UNSERVED_MODEL = 'priced-but-unserved';
const CALLS_PER_MINUTE = 3;

/** What of a gateway and its workers the client suite is pointed at. */
export type Engines = Pick<ClientTarget, 'model' | 'contextLength' | 'engines'> & { readonly embeddingModel: string };

/** A running gateway as the client suite wants it: with a poor agent, a hasty agent and a model that nobody serves. */
export async function gatewayTarget(gateway: TestGateway, engines: Engines): Promise<ClientTarget> {
  const { embeddingModel, ...rest } = engines;
  await gateway.admin('PUT', `/prices/${UNSERVED_MODEL}`, testPrice);
  const { id: poorAccount } = await gateway.admin('POST', '/accounts', { name: 'poor agent' });
  const { key: poorKey } = await gateway.admin('POST', `/accounts/${poorAccount}/keys`, {});
  const { id: limitedId, key: limitedKey } = await gateway.admin('POST', `/accounts/${gateway.accountId}/keys`, {});
  await gateway.database.sql`
    update api_key set requests_per_minute = ${CALLS_PER_MINUTE} where id = ${String(limitedId)}`;
  return {
    ...rest,
    baseURL: `${gateway.url}/v1`,
    apiKey: gateway.apiKey,
    embedding: { model: embeddingModel },
    poorKey: String(poorKey),
    limitedKey: String(limitedKey),
    unservedModel: UNSERVED_MODEL,
  };
}
