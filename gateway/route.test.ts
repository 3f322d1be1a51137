import { request } from 'node:http';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connect } from '../db/connect.ts';
import { createApp } from './app.ts';
import { startTestGateway, type TestGateway } from './testing.ts';
import { type Ask, asker, errorOf } from './testing-routes.ts';

let gateway: TestGateway;
let admin: Ask;

beforeAll(async () => {
  gateway = await startTestGateway({ simulators: [], limits: { bodyBytes: 65_536, bodyMs: 300 } });
  admin = asker(gateway.url, gateway.running.adminKey);
});

afterAll(async () => {
  await gateway.stop();
});

const path = '/admin/v1/accounts';

test.each([
  ['{"name":', { code: 'invalid_json', param: null }],
  ['[]', { code: 'invalid_request', param: null }],
  [{}, { code: 'invalid_request', param: 'name' }],
  [{ name: 7 }, { code: 'invalid_request', param: 'name' }],
  [{ name: 'a\u0000b' }, { code: 'invalid_request', param: 'name' }],
  [
    { name: 'a', colour: 'red' },
    { code: 'invalid_request', param: 'colour' },
  ],
  [`{"name":${'['.repeat(100)}`, { code: 'invalid_request', param: null }],
])('the body %j is refused and the field at fault is named', async (body, refusal) => {
  expect(errorOf(await admin('POST', path, body))).toEqual({ status: 400, ...refusal });
});

test('an unknown or wrong query parameter is refused and named', async () => {
  const refusal = { status: 400, code: 'invalid_request' };
  expect(errorOf(await admin('GET', '/admin/v1/workers?limits=3'))).toEqual({ ...refusal, param: 'limits' });
  expect(errorOf(await admin('GET', '/admin/v1/workers?limit=0'))).toEqual({ ...refusal, param: 'limit' });
  expect(errorOf(await admin('GET', '/admin/v1/workers?limit=x'))).toEqual({ ...refusal, param: 'limit' });
});

test('a body that is not declared as JSON is refused', async () => {
  const response = await fetch(gateway.url + path, {
    method: 'POST',
    headers: { authorization: `Bearer ${gateway.running.adminKey}`, 'content-type': 'text/plain' },
    body: '{"name":"a"}',
  });
  expect(response.status).toBe(415);
});

/** Sends a body in pieces; the connection stays open until the answer. */
function send(headers: Record<string, string>, pieces: readonly string[], end: boolean): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const call = request(gateway.url + path, {
      method: 'POST',
      headers: { authorization: `Bearer ${gateway.running.adminKey}`, 'content-type': 'application/json', ...headers },
    });
    call.on('response', (response) => {
      response.resume();
      resolve(response.statusCode);
      call.destroy();
    });
    call.on('error', reject);
    for (const piece of pieces) call.write(piece);
    if (end) call.end();
  });
}

test('a body above the limit answers 413, with and without its length said before', async () => {
  const large = `{"name":"${'x'.repeat(100_000)}"}`;
  expect(await send({ 'content-length': String(large.length) }, [large], true)).toBe(413);
  expect(await send({ 'transfer-encoding': 'chunked' }, [large.slice(0, 90_000), large.slice(90_000)], true)).toBe(413);
});

test('a body that does not come answers 408', async () => {
  expect(await send({ 'transfer-encoding': 'chunked' }, ['{"name":'], false)).toBe(408);
});

test('an id with a control character in it leads nowhere', async () => {
  expect(errorOf(await admin('DELETE', '/admin/v1/keys/key_%00'))).toMatchObject({ status: 404, code: 'not_found' });
});

test('a wrong path answers 404 and a wrong method 405 with the methods that are allowed', async () => {
  expect(errorOf(await admin('GET', '/admin/v1/nothing'))).toMatchObject({
    status: 404,
    code: 'not_found',
  });
  const answer = await admin('DELETE', path);
  expect(errorOf(answer)).toMatchObject({ status: 405, code: 'method_not_allowed' });
  expect(answer.headers.get('allow')).toBe('POST');
  const model = await admin('DELETE', '/v1/models/an-owner/a-model');
  expect(errorOf(model)).toMatchObject({ status: 405, code: 'method_not_allowed' });
});

test('answers with balances and keys are kept by no cache', async () => {
  const answer = await admin('POST', path, { name: 'agent' });
  expect(answer.headers.get('cache-control')).toBe('no-store');
});

test('while the database is away routes say so and when to ask again, and the gateway is not ready', async () => {
  const { gateway: whole } = gateway.running;
  const away = connect('postgres://nobody@127.0.0.1:9/none');
  const platform = { ...whole.platform, database: away };
  const transport = { serve: () => new Response() };
  const app = createApp({ ...whole, platform }, transport);
  for (const at of ['/v1/account', '/v1/calls', '/v1/models', '/readyz']) {
    const response = await app.request(at, { headers: { authorization: `Bearer ${gateway.apiKey}` } });
    expect([at, response.status]).toEqual([at, 503]);
    expect(await response.json()).toMatchObject({ error: { code: 'ledger_unavailable' } });
    expect(Number(response.headers.get('retry-after-ms'))).toBeGreaterThan(0);
  }
  expect((await app.request('/healthz')).status).toBe(200);
  await away.close();
});
