import { createLocalJWKSet, decodeJwt, type JSONWebKeySet, jwtVerify } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { jwks } from '../payments/receipt.ts';
import { CONTEXT_LENGTH, startTestGateway, type TestGateway } from './testing.ts';
import { type Ask, asker, errorOf } from './testing-routes.ts';

let gateway: TestGateway;
let agent: Ask;
let stranger: Ask;

const messages = [{ role: 'user', content: 'Say something about fare gates.' }];

beforeAll(async () => {
  gateway = await startTestGateway({ simulators: [{ decodeBaseMs: 20 }] });
  agent = asker(gateway.url, gateway.apiKey);
  const { id } = await gateway.admin('POST', '/accounts', { name: 'stranger' });
  const { key } = await gateway.admin('POST', `/accounts/${id}/keys`, {});
  stranger = asker(gateway.url, String(key));
});

afterAll(async () => {
  await gateway.stop();
});

/** Makes one whole call and answers its id. */
async function paidCall(): Promise<string> {
  const response = await gateway.post('/v1/chat/completions', { model: 'tiny', messages, max_tokens: 4 });
  expect(response.status).toBe(200);
  await response.text();
  return response.headers.get('x-faregate-call') ?? '';
}

/** Begins a stream and answers its id and how to leave it. */
async function openStream(): Promise<{ id: string; held: string | null; leave: () => void }> {
  const control = new AbortController();
  const body = { model: 'tiny', messages, max_tokens: 2_000, stream: true };
  const { headers } = await gateway.post('/v1/chat/completions', body, { signal: control.signal });
  const id = headers.get('x-faregate-call') ?? '';
  return { id, held: headers.get('x-faregate-held-nanousd'), leave: () => control.abort() };
}

test('the balance is the deposits less all charges, at once after each call', async () => {
  const before = BigInt(String((await agent('GET', '/v1/account')).body.balance_nanousd));
  const id = await paidCall();
  const { body: account } = await agent('GET', '/v1/account');
  const { body: call } = await agent('GET', `/v1/calls/${id}`);
  expect(before - BigInt(String(account.balance_nanousd))).toBe(BigInt(String(call.charged_nanousd)));
  expect(account).toMatchObject({ id: gateway.accountId, held_nanousd: '0' });
  expect(account.available_nanousd).toBe(account.balance_nanousd);
});

test('a closed call tells who served it, what it used and what it cost', async () => {
  const id = await paidCall();
  const { body } = await agent('GET', `/v1/calls/${id}`);
  expect(body).toMatchObject({
    id,
    status: 'closed',
    outcome: 'complete',
    model: 'tiny',
    worker: gateway.workerIds[0],
    operator: gateway.operatorId,
    region: 'test',
    attempts: 1,
    usage: { completion_tokens: 4 },
  });
  expect(Math.abs(Date.parse(String(body.created_at)) - Date.now())).toBeLessThan(60_000);
});

test('a call that runs now is open, stands in the list, holds its money and has no receipt yet', async () => {
  const { id, held, leave } = await openStream();
  const { body: call } = await agent('GET', `/v1/calls/${id}`);
  expect(call).toMatchObject({ status: 'open', outcome: null, charged_nanousd: '0', held_nanousd: held });
  const { body: list } = await agent('GET', '/v1/calls?limit=1');
  expect(list).toMatchObject({ data: [{ id, status: 'open' }], has_more: true });
  const { body: account } = await agent('GET', '/v1/account');
  expect(account.held_nanousd).toBe(held);
  expect(BigInt(String(account.balance_nanousd)) - BigInt(String(account.available_nanousd))).toBe(BigInt(held ?? 0));
  expect(errorOf(await agent('GET', `/v1/calls/${id}/receipt`))).toMatchObject({
    status: 409,
    code: 'request_in_progress',
  });
  leave();
  await expect.poll(async () => (await agent('GET', `/v1/calls/${id}`)).body.status).toBe('closed');
  expect((await agent('GET', `/v1/calls/${id}`)).body.outcome).toBe('aborted');
});

test('pages of calls are newest first and without gap or repetition', async () => {
  const made: string[] = [];
  for (let count = 0; count < 5; count++) made.unshift(await paidCall());
  const seen: string[] = [];
  for (let after = ''; seen.length < made.length; ) {
    const { body } = await agent('GET', `/v1/calls?limit=2${after}`);
    const data = body.data as { id: string }[];
    expect(data.length).toBe(2);
    seen.push(...data.map(({ id }) => id));
    after = `&after=${seen.at(-1)}`;
  }
  expect(seen.slice(0, made.length)).toEqual(made);
});

test("another account's calls and receipts do not exist, open or closed", async () => {
  const { id: open, leave } = await openStream();
  const missing = { status: 404, code: 'not_found' };
  for (const id of [open, await paidCall(), 'nonsense', '0198f3a5-6b70-7c81-9d92-a3b4c5d6e7f8']) {
    expect(errorOf(await stranger('GET', `/v1/calls/${id}`))).toMatchObject(missing);
    expect(errorOf(await stranger('GET', `/v1/calls/${id}/receipt`))).toMatchObject(missing);
  }
  expect((await stranger('GET', '/v1/calls')).body).toEqual({ object: 'list', data: [], has_more: false });
  leave();
});

test('a receipt is verified by the published keys and says what the call says', async () => {
  const id = await paidCall();
  const { body: call } = await agent('GET', `/v1/calls/${id}`);
  // Why it went where it went is no part of what was sold.
  delete call.routing;
  const { body } = await agent('GET', `/v1/calls/${id}/receipt`);
  const keys = (await (await fetch(`${gateway.url}/.well-known/jwks.json`)).json()) as JSONWebKeySet;
  const { payload, protectedHeader } = await jwtVerify(String(body.receipt), createLocalJWKSet(keys));
  expect(protectedHeader.alg).toBe('EdDSA');
  expect(payload).toMatchObject({ iss: gateway.url, sub: gateway.accountId, jti: id, ...call });
});

test('after the host rotated the key, receipts name the new one, and those of the old one are still verified', async () => {
  const path = `/v1/calls/${await paidCall()}/receipt`;
  const old = await agent('GET', path);
  const { kid } = await gateway.admin('POST', '/receipt-keys');
  await gateway.database.sql`update signing_key set created_at = created_at - interval '1 minute'`;
  const fresh = await agent('GET', path);
  const keys = createLocalJWKSet((await jwks(gateway.database.sql)) as JSONWebKeySet);
  const signers = [];
  for (const { body } of [old, fresh]) signers.push((await jwtVerify(String(body.receipt), keys)).protectedHeader.kid);
  expect(signers[0]).not.toBe(kid);
  expect(signers[1]).toBe(kid);
});

test('a refund is seen in the balance, the call and its receipt; more than was charged is refused', async () => {
  const admin = asker(gateway.url, gateway.running.adminKey);
  const id = await paidCall();
  const { body: before } = await agent('GET', '/v1/account');
  const { body: call } = await agent('GET', `/v1/calls/${id}`);
  const { charged_nanousd } = call;
  const request = { nanousd: charged_nanousd, reason: 'wrong words', reference: 'ticket' };
  const path = `/admin/v1/calls/${id}/refunds`;
  const { body: refund } = await admin('POST', path, request);
  expect(refund).toMatchObject({ call: id, operator_nanousd: call.operator_nanousd, refundable_nanousd: '0' });
  expect((await admin('POST', path, request)).body).toEqual(refund);
  const { body: after } = await agent('GET', '/v1/account');
  expect(BigInt(String(after.balance_nanousd)) - BigInt(String(before.balance_nanousd))).toBe(
    BigInt(String(charged_nanousd)),
  );
  expect((await agent('GET', `/v1/calls/${id}`)).body).toEqual({ ...call, refunded_nanousd: charged_nanousd });
  const { receipt } = (await agent('GET', `/v1/calls/${id}/receipt`)).body;
  expect(decodeJwt(String(receipt)).refunded_nanousd).toBe(charged_nanousd);
  const refused = async (to: string, changes: object) => errorOf(await admin('POST', to, { ...request, ...changes }));
  expect(await refused(path, { nanousd: '1', reference: 'more' })).toMatchObject({ status: 400, param: 'nanousd' });
  expect(await refused(path, { nanousd: '1' })).toMatchObject({ status: 422, param: 'reference' });
  expect(await refused('/admin/v1/calls/nonsense/refunds', {})).toMatchObject({ status: 404 });
});

test('a quote is exactly what the call then holds', async () => {
  const cases = [
    { path: '/v1/chat/completions', body: { model: 'tiny', messages, max_tokens: 7, n: 2 } },
    { path: '/v1/completions', body: { model: 'tiny', prompt: ['One', 'Two'], max_tokens: 5 } },
  ];
  for (const { path, body } of cases) {
    const { body: quote } = await agent('POST', '/v1/quote', { endpoint: path, ...body });
    const response = await gateway.post(path, body);
    await response.text();
    expect(quote.max_nanousd).toBe(response.headers.get('x-faregate-held-nanousd'));
  }
  const { body: chat } = await agent('POST', '/v1/quote', cases[0]?.body);
  expect(chat).toMatchObject({ completion_tokens_max: 14 });
});

test('a quote without max_tokens is for the longest answer that a worker can give', async () => {
  const { body } = await agent('POST', '/v1/quote', { model: 'tiny', messages });
  expect(body.completion_tokens_max).toBe(CONTEXT_LENGTH);
});

test('a quote of a wrong call is refused as the call would be', async () => {
  const refused = async (body: object) => errorOf(await agent('POST', '/v1/quote', body));
  expect(await refused({ model: 'none', messages })).toEqual({ status: 404, code: 'model_not_found', param: 'model' });
  expect(await refused({ model: 'tiny', messages: 'hi' })).toEqual({
    status: 400,
    code: 'invalid_request',
    param: 'messages',
  });
  expect(await refused({ model: 'tiny', messages, cache_salt: 'x' })).toMatchObject({
    status: 400,
    param: 'cache_salt',
  });
  expect(await refused({ model: 'tiny', messages, endpoint: '/v1/images' })).toMatchObject({
    status: 400,
    param: 'endpoint',
  });
});

test('models stand there with their context, price and limits, and unknown ones with the code of a call', async () => {
  const { body } = await agent('GET', '/v1/models');
  const [model] = body.data as { id: string; created: number }[];
  expect(model).toMatchObject({ id: 'tiny', object: 'model', context_length: CONTEXT_LENGTH });
  expect(Math.abs((model?.created ?? 0) - Date.now() / 1_000)).toBeLessThan(600);
  expect((await agent('GET', '/v1/models/tiny')).body).toEqual(model);
  expect(errorOf(await agent('GET', '/v1/models/none'))).toEqual({
    status: 404,
    code: 'model_not_found',
    param: 'model',
  });
});
