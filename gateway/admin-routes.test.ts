import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestGateway, type TestGateway } from './testing.ts';
import { type Ask, asker, errorOf } from './testing-routes.ts';

let gateway: TestGateway;
let admin: Ask;

beforeAll(async () => {
  gateway = await startTestGateway({ simulators: [] });
  admin = asker(gateway.url, gateway.running.adminKey);
});

afterAll(async () => {
  await gateway.stop();
});

async function newAccount(): Promise<string> {
  const { body } = await admin('POST', '/admin/v1/accounts', { name: 'agent' });
  return String(body.id);
}

test('a new account has a name, an id and no money', async () => {
  const { body } = await admin('POST', '/admin/v1/accounts', { name: 'research agent' });
  expect(body).toMatchObject({ id: expect.stringMatching(/^acct_/), name: 'research agent' });
  const { body: key } = await admin('POST', `/admin/v1/accounts/${body.id}/keys`, {});
  const account = await asker(gateway.url, String(key.key))('GET', '/v1/account');
  expect(account.body).toMatchObject({ id: body.id, balance_nanousd: '0', held_nanousd: '0', available_nanousd: '0' });
});

test('a deposit is booked once per reference, however often it comes', async () => {
  const credits = `/admin/v1/accounts/${await newAccount()}/credits`;
  const deposit = { nanousd: '1500', reference: 'invoice 1' };
  const copies = await Promise.all(Array.from({ length: 10 }, () => admin('POST', credits, deposit)));
  for (const { body } of copies) expect(body).toEqual({ txn: copies[0]?.body.txn, balance_nanousd: '1500' });
  const next = await admin('POST', credits, { nanousd: 500, reference: 'invoice 2' });
  expect(next.body).toMatchObject({ balance_nanousd: '2000' });
  const again = await admin('POST', credits, { nanousd: 1500, reference: 'invoice 1' });
  expect(again.body).toMatchObject({ txn: copies[0]?.body.txn });
  const other = await admin('POST', credits, { nanousd: '1501', reference: 'invoice 1' });
  expect(errorOf(other)).toEqual({ status: 422, code: 'idempotency_mismatch', param: 'reference' });
});

test('the same reference serves two accounts', async () => {
  for (const id of [await newAccount(), await newAccount()]) {
    const { body } = await admin('POST', `/admin/v1/accounts/${id}/credits`, { nanousd: '7', reference: 'welcome' });
    expect(body).toMatchObject({ balance_nanousd: '7' });
  }
});

test.each([0, '0', -1, '-1', 1.5, '1.5', 1e20, '9223372036854775808', '', 'ten', null])(
  'a deposit of %j is refused',
  async (nanousd) => {
    const answer = await admin('POST', `/admin/v1/accounts/${await newAccount()}/credits`, { nanousd, reference: 'r' });
    expect(errorOf(answer)).toEqual({ status: 400, code: 'invalid_request', param: 'nanousd' });
  },
);

test('deposits beyond what can be counted are refused, and the books still balance', async () => {
  const credits = `/admin/v1/accounts/${await newAccount()}/credits`;
  const answer = await admin('POST', credits, { nanousd: '9223372036854775807', reference: 'all the money' });
  expect(errorOf(answer)).toEqual({ status: 400, code: 'invalid_request', param: 'nanousd' });
  const { body } = await admin('GET', '/admin/v1/check');
  expect(body).toEqual({ balanced: true, violations: [] });
});

test('there are no deposits and keys for accounts that do not exist, nor for operators', async () => {
  for (const id of ['acct_none', gateway.operatorId, 'world']) {
    const path = `/admin/v1/accounts/${id}`;
    const missing = { status: 404, code: 'not_found' };
    expect(errorOf(await admin('POST', `${path}/credits`, { nanousd: 1, reference: 'r' }))).toMatchObject(missing);
    expect(errorOf(await admin('POST', `${path}/keys`, {}))).toMatchObject(missing);
  }
});

test('a key works until it is revoked, and its text is in no table', async () => {
  const id = await newAccount();
  const { body } = await admin('POST', `/admin/v1/accounts/${id}/keys`, { name: 'laptop' });
  const agent = asker(gateway.url, String(body.key));
  expect((await agent('GET', '/v1/account')).body).toMatchObject({ id });
  const rows = await gateway.database.sql`select * from api_key where id = ${String(body.id)}`;
  expect(JSON.stringify(rows)).not.toContain(String(body.key).slice(8, -4));
  expect((await admin('DELETE', `/admin/v1/keys/${body.id}`)).body).toEqual({ id: body.id, deleted: true });
  await expect.poll(async () => (await agent('GET', '/v1/account').catch(() => null))?.status).toBe(401);
  expect(errorOf(await admin('DELETE', '/admin/v1/keys/key_none'))).toMatchObject({ status: 404 });
});

test('a price is in force at once under its next version, also for a model with slashes in its name', async () => {
  const model = 'meta-llama/Llama-3.1-8B';
  const price = { input: 200, cached_input: '50', output: '800', per_ms: 3 };
  const first = await admin('PUT', `/admin/v1/prices/${model}`, price);
  const second = await admin('PUT', `/admin/v1/prices/${encodeURIComponent(model)}`, { ...price, output: '900' });
  expect(second.body).toMatchObject({ model, price_version: expect.any(Number) });
  expect(Number(second.body.price_version)).toBeGreaterThan(Number(first.body.price_version));
  const { body } = await asker(gateway.url, gateway.apiKey)('GET', `/v1/models/${model}`);
  expect(body.pricing).toEqual({
    price_version: second.body.price_version,
    input_nanousd: '200',
    cached_input_nanousd: '50',
    output_nanousd: '900',
    per_ms_nanousd: '3',
  });
});

test('a price must be whole, and cached input may not cost more than input', async () => {
  const price = { input: 1, cached_input: 2, output: 1, per_ms: 0 };
  const refusal = { status: 400, code: 'invalid_request' };
  expect(errorOf(await admin('PUT', '/admin/v1/prices/m', price))).toEqual({ ...refusal, param: 'cached_input' });
  const { per_ms, ...partial } = { ...price, cached_input: 1 };
  expect(errorOf(await admin('PUT', '/admin/v1/prices/m', partial))).toEqual({ ...refusal, param: 'per_ms' });
});

test('an operator gets nine tenths unless told otherwise, and a key that works', async () => {
  const { body } = await admin('POST', '/admin/v1/operators', { name: 'gpus' });
  expect(body).toMatchObject({ id: expect.stringMatching(/^op_/), share_ppm: 900_000 });
  const earned = await asker(gateway.url, String(body.key))('GET', '/operator/v1/earnings');
  expect(earned.body).toEqual({ earned_nanousd: '0', pending_nanousd: '0', paid_nanousd: '0' });
  const greedy = await admin('POST', '/admin/v1/operators', { name: 'gpus', share_ppm: 1_000_001 });
  expect(errorOf(greedy)).toEqual({ status: 400, code: 'invalid_request', param: 'share_ppm' });
});

test('the check finds books that do not balance', async () => {
  const id = await newAccount();
  await gateway.database.sql`update account set balance = 5 where id = ${id}`;
  const { body } = await admin('GET', '/admin/v1/check');
  expect(body).toMatchObject({ balanced: false, violations: [expect.objectContaining({ subject: id })] });
  await gateway.database.sql`update account set balance = 0 where id = ${id}`;
});
