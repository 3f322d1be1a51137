import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestGateway, type TestGateway } from './testing.ts';
import { type Ask, asker, errorOf } from './testing-routes.ts';

let gateway: TestGateway;
let agent: Ask;

beforeAll(async () => {
  gateway = await startTestGateway();
  agent = asker(gateway.url, gateway.apiKey);
});

afterAll(async () => {
  await gateway.stop();
});

interface Made {
  readonly id: string;
  readonly key: string;
  readonly ask: Ask;
}

async function make(from: Ask, body: object = {}): Promise<Made> {
  const { body: made } = await from('POST', '/v1/keys', body);
  const key = String(made.key);
  return { id: String(made.id), key, ask: asker(gateway.url, key) };
}

async function idsSeenBy(ask: Ask): Promise<unknown[]> {
  return ((await ask('GET', '/v1/keys')).body.data as { id: string }[]).map(({ id }) => id);
}

const unknown = { status: 401, code: 'invalid_api_key', param: null };
const missing = { status: 404, code: 'not_found', param: null };

function call(key: string): Promise<Response> {
  const body = { model: 'tiny', messages: [{ role: 'user', content: 'Hello' }], max_tokens: 2 };
  return gateway.post('/v1/chat/completions', body, { key });
}

test('a key makes a further key of its account, which works at once and has the limits that were asked for', async () => {
  const body = { name: 'helper', requests_per_minute: 60, open_streams: 2, expires_at: '2100-01-01T00:00:00+01:00' };
  const { body: made } = await agent('POST', '/v1/keys', body);
  expect(made).toMatchObject({
    name: 'helper',
    requests_per_minute: 60,
    tokens_per_minute: gateway.running.gateway.platform.config.limits.tokensPerMinute,
    open_streams: 2,
    expires_at: '2099-12-31T23:00:00.000Z',
  });
  const answer = await call(String(made.key));
  expect(answer.status).toBe(200);
  await answer.text();
  expect(answer.headers.get('x-ratelimit-limit-requests')).toBe('60');
  expect((await asker(gateway.url, String(made.key))('GET', '/v1/account')).body.id).toBe(gateway.accountId);
});

test('a key is shown once: no list has it, and only keys above it see it or can revoke it', async () => {
  const child = await make(agent, { name: 'child' });
  const sibling = await make(agent);
  const grandchild = await make(child.ask);
  expect(await idsSeenBy(child.ask)).toEqual([grandchild.id, child.id]);
  expect(await idsSeenBy(agent)).toEqual(expect.arrayContaining([grandchild.id, sibling.id, child.id]));
  const list = await agent('GET', '/v1/keys?limit=100');
  for (const { key } of [child, sibling, grandchild]) expect(JSON.stringify(list.body)).not.toContain(key);
  const { id } = await gateway.admin('POST', '/accounts', { name: 'stranger' });
  const { key } = await gateway.admin('POST', `/accounts/${id}/keys`, {});
  for (const ask of [sibling.ask, grandchild.ask, asker(gateway.url, String(key))]) {
    expect(errorOf(await ask('DELETE', `/v1/keys/${child.id}`))).toEqual(missing);
    expect(await idsSeenBy(ask)).not.toContain(child.id);
  }
  expect((await child.ask('GET', '/v1/account')).status).toBe(200);
});

test('pages of keys are newest first and without gap or repetition', async () => {
  const root = await make(agent);
  const made = [root.id];
  for (let count = 0; count < 4; count++) made.unshift((await make(root.ask)).id);
  const seen: unknown[] = [];
  for (let after = ''; ; after = `&after=${String(seen.at(-1))}`) {
    const { body } = await root.ask('GET', `/v1/keys?limit=2${after}`);
    seen.push(...(body.data as { id: string }[]).map(({ id }) => id));
    if (body.has_more !== true) break;
  }
  expect(seen).toEqual(made);
});

test('no key is made wider than its maker, deeper than three, or ended already', async () => {
  const { ask } = await make(agent, { requests_per_minute: 10, tokens_per_minute: 1_000, open_streams: 1 });
  for (const param of ['requests_per_minute', 'tokens_per_minute', 'open_streams']) {
    const wider = await ask('POST', '/v1/keys', { [param]: 1_001 });
    expect(errorOf(wider)).toEqual({ status: 400, code: 'invalid_request', param });
  }
  const past = await ask('POST', '/v1/keys', { expires_at: '2020-01-01T00:00:00Z' });
  expect(errorOf(past)).toEqual({ status: 400, code: 'invalid_request', param: 'expires_at' });
  const second = await make(ask);
  const third = await make(second.ask);
  expect(errorOf(await third.ask('POST', '/v1/keys', {}))).toMatchObject({ status: 403, code: 'forbidden' });
});

test('the keys below a key share its limit', async () => {
  // Two to make the children, three for them.
  const parent = await make(agent, { requests_per_minute: 5 });
  const children = [await make(parent.ask), await make(parent.ask)];
  const statuses: number[] = [];
  for (let round = 0; round < 2; round++) {
    for (const { key } of children) {
      const response = await call(key);
      await response.text();
      statuses.push(response.status);
    }
  }
  expect(statuses).toEqual([200, 200, 200, 429]);
  expect((await call(parent.key)).status).toBe(429);
});

test('to make keys counts against the limit of requests', async () => {
  const parent = await make(agent, { requests_per_minute: 2 });
  await make(parent.ask);
  await make(parent.ask);
  expect(errorOf(await parent.ask('POST', '/v1/keys', {}))).toMatchObject({ status: 429, code: 'rate_limited' });
});

test('a revoked key ends at once with all keys below it, and the others stay', async () => {
  const parent = await make(agent);
  const child = await make(parent.ask);
  const grandchild = await make(child.ask);
  const sibling = await make(agent);
  for (const { ask } of [parent, child, grandchild, sibling])
    expect((await ask('GET', '/v1/account')).status).toBe(200);
  expect((await agent('DELETE', `/v1/keys/${parent.id}`)).body).toEqual({ id: parent.id, deleted: true });
  for (const { ask } of [parent, child, grandchild]) {
    await expect.poll(async () => (await ask('GET', '/v1/account')).status).toBe(401);
    expect(errorOf(await ask('GET', '/v1/account'))).toEqual(unknown);
  }
  expect((await sibling.ask('GET', '/v1/account')).status).toBe(200);
  expect(errorOf(await agent('DELETE', `/v1/keys/${child.id}`))).toEqual(missing);
});

test('a key can revoke itself', async () => {
  const own = await make(agent);
  expect((await own.ask('DELETE', `/v1/keys/${own.id}`)).status).toBe(200);
  await expect.poll(async () => (await own.ask('GET', '/v1/account')).status).toBe(401);
});

test('a key that is made while its maker is revoked ends with it', async () => {
  for (let round = 0; round < 20; round++) {
    const parent = await make(agent);
    const [made] = await Promise.all([parent.ask('POST', '/v1/keys', {}), agent('DELETE', `/v1/keys/${parent.id}`)]);
    if (made.status !== 200) continue;
    const child = asker(gateway.url, String(made.body.key));
    await expect.poll(async () => (await child('GET', '/v1/account')).status).toBe(401);
  }
});

test('a request to make a key, sent again under its Idempotency-Key, makes one and shows the same', async () => {
  const ask = () =>
    fetch(`${gateway.url}/v1/keys`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${gateway.apiKey}`,
        'content-type': 'application/json',
        'idempotency-key': 'one key',
      },
      body: '{"name":"only one"}',
    });
  const texts = [await (await ask()).text(), await (await ask()).text()];
  expect(texts[1]).toBe(texts[0]);
  const rows = await gateway.database.sql`select from api_key where name = 'only one'`;
  expect(rows.length).toBe(1);
});

describe('a budget', () => {
  const spend = async (key: string) => {
    const answer = await call(key);
    const { error } = (await answer.json()) as { error?: { code: string; message: string } };
    return { status: answer.status, code: error?.code, message: error?.message };
  };
  const seen = async (ask: Ask, id: string) =>
    ((await ask('GET', '/v1/keys')).body.data as { id: string }[]).find((key) => key.id === id);

  test('binds the key and all keys made of it: beyond it there is a 402 that names it, for them and for nobody else', async () => {
    const parent = await make(agent, { budget_nanousd: '0' });
    const child = await make(parent.ask, { budget_nanousd: '999999999999' });
    const grandchild = await make(child.ask);
    for (const { key } of [parent, child, grandchild]) {
      const { status, code, message } = await spend(key);
      expect([status, code]).toEqual([402, 'insufficient_balance']);
      expect(message).toContain(`0 are left in the budget of ${parent.id}`);
    }
    expect((await spend(gateway.apiKey)).status).toBe(200);
  });

  test('counts what was charged, in its window', async () => {
    const budget = { budget_nanousd: '1000000000', budget_window_seconds: 31_536_000 };
    const parent = await make(agent, budget);
    const child = await make(parent.ask);
    expect((await spend(child.key)).status).toBe(200);
    expect((await agent('GET', '/v1/calls?limit=1')).status).toBe(200);
    const facts = await seen(agent, parent.id);
    expect(facts).toMatchObject({ ...budget, budget_spent_nanousd: expect.stringMatching(/^[1-9]/) });
    expect(await seen(agent, child.id)).toMatchObject({ budget_nanousd: null, budget_spent_nanousd: null });
  });

  test('of a key of the host is set by the host', async () => {
    const { key } = await gateway.admin('POST', `/accounts/${gateway.accountId}/keys`, { budget_nanousd: '1' });
    expect(await spend(String(key))).toMatchObject({ status: 402, message: expect.stringContaining('1 are left in') });
  });

  test('has a limit where it has a window', async () => {
    const refused = await agent('POST', '/v1/keys', { budget_window_seconds: 60 });
    expect(errorOf(refused)).toEqual({ status: 400, code: 'invalid_request', param: 'budget_nanousd' });
  });
});
