/** What belongs to one tenant does not exist for another: on every route that names a thing by its id. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bookPayout } from '../payments/payouts/booking.ts';
import { startTestGateway, type TestGateway } from './testing.ts';
import { type Ask, asker, declaredRoutes, errorOf } from './testing-routes.ts';

let gateway: TestGateway;
/** By the kind of key: another tenant, and one of the same tenant. */
const strangers = new Map<string, Ask>();
/** By the beginning of a path: the id of a thing that exists. */
const things = new Map<string, string>();

beforeAll(async () => {
  gateway = await startTestGateway();
  const { id } = await gateway.admin('POST', '/accounts', { name: 'stranger' });
  strangers.set('agent', asker(gateway.url, String((await gateway.admin('POST', `/accounts/${id}/keys`, {})).key)));
  const operator = await gateway.admin('POST', '/operators', { name: 'stranger' });
  strangers.set('operator', asker(gateway.url, String(operator.key)));
  const messages = [{ role: 'user', content: 'Hello' }];
  const call = await gateway.post('/v1/chat/completions', { model: 'tiny', messages, max_tokens: 2 });
  await call.text();
  things.set('/v1/calls/', call.headers.get('x-faregate-call') ?? '');
  things.set('/v1/keys/', String((await gateway.agent('POST', '/keys', {})).id));
  things.set('/v1/withdrawals/', await withdrawalOf(gateway));
  things.set('/operator/v1/workers/', gateway.workerIds[0] ?? '');
});

afterAll(async () => {
  await gateway.stop();
});

/** One that the chain has still to carry out. */
async function withdrawalOf({ database, accountId }: TestGateway): Promise<string> {
  const treasury = { network: 'eip155:84532', asset: '0xa55e7', address: '0x7ea5' };
  const order = { kind: 'withdrawal', accountId, payee: '0xbee', amount: 1_000n, reference: 'mine' } as const;
  return (await bookPayout(database.sql, treasury, order)).id;
}

const named = declaredRoutes.filter(({ path, security }) => path.includes('{id}') && security !== 'admin');

test.each(named.map((route) => [`${route.method} ${route.path}`, route] as const))(
  "%s answers another tenant's id as one that does not exist",
  async (_name, { method, path, security, example }) => {
    const thing = things.get(path.slice(0, path.indexOf('{')));
    if (thing === undefined) throw new Error(`no thing to ask for under ${path}`);
    const ask = strangers.get(security ?? '');
    if (ask === undefined) throw new Error(`no stranger with a key of the kind ${security}`);
    const refused = async (id: string) => {
      const { body, ...answer } = await ask(method.toUpperCase(), path.replace('{id}', id), example.body);
      return { body: JSON.stringify(body).replaceAll(id, '…'), ...errorOf({ body, ...answer }) };
    };
    const nobody = thing.replace(/[0-9a-f]{8}$/, '00000000');
    expect(await refused(thing)).toMatchObject({ status: 404, code: 'not_found' });
    expect(await refused(thing)).toEqual(await refused(nobody));
  },
);

test('nothing of it changed: its owners still see and use it', async () => {
  expect((await gateway.agent('GET', `/calls/${things.get('/v1/calls/')}`)).status).toBe('closed');
  const { data } = await gateway.agent('GET', '/keys');
  expect((data as { id: string }[]).map(({ id }) => id)).toContain(things.get('/v1/keys/'));
  expect((await gateway.operator('GET', `/workers/${gateway.workerIds[0]}`)).state).not.toBe('draining');
});

test("a prompt in the engine's cache is found by its own tenant and by no other", async () => {
  const { id } = await gateway.admin('POST', '/accounts', { name: 'rich stranger' });
  await gateway.admin('POST', `/accounts/${id}/credits`, { nanousd: '1000000000', reference: 'funds' });
  const { key } = await gateway.admin('POST', `/accounts/${id}/keys`, {});
  const body = { model: 'tiny', messages: [{ role: 'user', content: 'A long secret. '.repeat(40) }], max_tokens: 2 };
  const cachedFor = async (apiKey: string) => {
    const response = await gateway.post('/v1/chat/completions', body, { key: apiKey });
    const { usage } = (await response.json()) as { usage: { prompt_tokens_details: { cached_tokens: number } | null } };
    return usage.prompt_tokens_details?.cached_tokens ?? 0;
  };
  expect(await cachedFor(gateway.apiKey)).toBe(0);
  expect(await cachedFor(gateway.apiKey)).toBeGreaterThan(16);
  expect(await cachedFor(String(key))).toBe(0);
  expect(await cachedFor(String(key))).toBeGreaterThan(16);
});
