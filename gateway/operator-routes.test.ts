import { afterAll, beforeAll, expect, test } from 'vitest';
import { isCountry } from './countries.ts';
import { startTestGateway, type TestGateway } from './testing.ts';
import { type Ask, asker, errorOf } from './testing-routes.ts';

let gateway: TestGateway;
let operator: Ask;
let stranger: Ask;
let admin: Ask;

const declaration = {
  url: 'http://127.0.0.1:9/v1/',
  engine_key: 'secret-of-the-engine',
  models: [{ id: 'tiny', context_length: 1_024 }],
  country: 'NO',
  region: 'eu-north',
  slots: 4,
  gpu: 'l4',
};

beforeAll(async () => {
  gateway = await startTestGateway();
  operator = asker(gateway.url, gateway.operatorKey);
  admin = asker(gateway.url, gateway.running.adminKey);
  const { body } = await admin('POST', '/admin/v1/operators', { name: 'stranger' });
  stranger = asker(gateway.url, String(body.key));
});

afterAll(async () => {
  await gateway.stop();
});

test('a registered worker shows what was declared, but never the key of its engine', async () => {
  const { body } = await stranger('POST', '/operator/v1/workers', declaration);
  const { engine_key, url, ...rest } = declaration;
  expect(body).toMatchObject({ ...rest, url: 'http://127.0.0.1:9', state: 'verifying', in_flight: 0 });
  expect(body.id).toMatch(/^wrk_/);
  for (const answer of [body, (await stranger('GET', `/operator/v1/workers/${body.id}`)).body]) {
    expect(JSON.stringify(answer)).not.toContain(engine_key);
  }
  await stranger('DELETE', `/operator/v1/workers/${body.id}`);
});

test('a worker that cannot be reached says why it earns nothing', async () => {
  const { body } = await stranger('POST', '/operator/v1/workers', declaration);
  const path = `/operator/v1/workers/${body.id}`;
  await expect
    .poll(async () => (await stranger('GET', path)).body.last_error, { timeout: 15_000 })
    .toEqual(expect.any(String));
  await stranger('DELETE', path);
});

test.each([
  ['url', { url: 'ftp://example.com' }],
  ['url', { url: 'http://user:pass@example.com' }],
  ['url', { url: 'http://169.254.169.254' }],
  ['url', { url: 'nonsense' }],
  ['engine_key', { engine_key: 'two words' }],
  ['models', { models: [] }],
  ['models', { models: [declaration.models[0], declaration.models[0]] }],
  ['models[0].id', { models: [{ id: 'a b', context_length: 1 }] }],
  ['models[0].context_length', { models: [{ id: 'a', context_length: 0 }] }],
  ['models[0].price', { models: [{ id: 'a', context_length: 1, price: 1 }] }],
  ['country', { country: 'XX' }],
  ['country', { country: 'no' }],
  ['region', { region: 'eu\nnorth' }],
  ['gpu', { gpu: 'abacus' }],
  ['slots', { slots: 0 }],
  ['slots', { slots: 4_097 }],
])('a declaration is refused and %s named: %j', async (param, wrong) => {
  const answer = await operator('POST', '/operator/v1/workers', { ...declaration, ...wrong });
  expect(errorOf(answer)).toEqual({ status: 400, code: 'invalid_request', param });
});

test("another operator's worker does not exist", async () => {
  const path = `/operator/v1/workers/${gateway.workerIds[0]}`;
  expect((await operator('GET', path)).body).toMatchObject({ id: gateway.workerIds[0], operator: gateway.operatorId });
  const missing = { status: 404, code: 'not_found' };
  expect(errorOf(await stranger('GET', path))).toMatchObject(missing);
  expect(errorOf(await stranger('PATCH', path, { drain: true }))).toMatchObject(missing);
  expect(errorOf(await stranger('DELETE', path))).toMatchObject(missing);
  expect((await stranger('GET', '/operator/v1/workers')).body.data).toEqual([]);
});

test('a list comes in pages, and the host sees the workers of all', async () => {
  const ids: unknown[] = [];
  for (let count = 0; count < 3; count++) {
    ids.push((await stranger('POST', '/operator/v1/workers', declaration)).body.id);
  }
  const seen: unknown[] = [];
  for (let after = ''; ; ) {
    const { body } = await stranger('GET', `/operator/v1/workers?limit=2${after}`);
    const data = body.data as { id: string }[];
    seen.push(...data.map(({ id }) => id));
    if (body.has_more === false) break;
    after = `&after=${data.at(-1)?.id}`;
  }
  expect(seen).toEqual(ids);
  const { body } = await admin('GET', '/admin/v1/workers?limit=100');
  const all = (body.data as { id: string }[]).map(({ id }) => id);
  expect(all).toEqual(expect.arrayContaining([...ids, ...gateway.workerIds]));
  for (const id of ids) await stranger('DELETE', `/operator/v1/workers/${id}`);
  expect((await stranger('GET', '/operator/v1/workers')).body.data).toEqual([]);
});

test('a drained worker gets no more calls and serves again when it is no longer drained', async () => {
  const path = `/operator/v1/workers/${gateway.workerIds[0]}`;
  const call = () =>
    gateway.post('/v1/chat/completions', { model: 'tiny', messages: [{ role: 'user', content: 'Hi' }], max_tokens: 4 });
  expect((await operator('PATCH', path, { drain: true })).body.state).toBe('draining');
  await expect.poll(async () => (await call()).status).toBe(503);
  expect((await operator('GET', path)).body.state).toBe('draining');
  await operator('PATCH', path, { drain: false });
  await expect.poll(async () => (await call()).status, { timeout: 20_000 }).toBe(200);
});

test('what a call earned shows once it is settled', async () => {
  const before = BigInt(String((await operator('GET', '/operator/v1/earnings')).body.earned_nanousd));
  const response = await gateway.post('/v1/chat/completions', {
    model: 'tiny',
    messages: [{ role: 'user', content: 'Hello' }],
    max_tokens: 8,
  });
  const { id } = (await response.json()) as { id: string };
  const { body: call } = await asker(gateway.url, gateway.apiKey)('GET', `/v1/calls/${id.replace('chatcmpl-', '')}`);
  const { body } = await operator('GET', '/operator/v1/earnings');
  expect(BigInt(String(body.earned_nanousd)) - before).toBe(BigInt(String(call.operator_nanousd)));
  expect(body.pending_nanousd).toBe(body.earned_nanousd);
});

test('countries are those of ISO 3166-1', () => {
  const all = Array.from({ length: 26 * 26 }, (_, at) => String.fromCharCode(65 + Math.floor(at / 26), 65 + (at % 26)));
  expect(all.filter(isCountry).length).toBe(249);
  for (const code of ['NO', 'US', 'IN', 'ZA', 'GB', 'AX']) expect(isCountry(code)).toBe(true);
  for (const code of ['UK', 'EU', 'XK', 'ZZ', 'SU', '']) expect(isCountry(code)).toBe(false);
});
