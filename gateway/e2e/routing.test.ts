import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { startSimulator } from '../../workers/simulator/server.ts';
import { startTestGateway, type TestGateway } from '../testing.ts';

/** So far that no hiccup of a busy machine makes it look near. */
const FAR_MS = 250;

let gateway: TestGateway;
let norway: string;
let france: string;

beforeAll(async () => {
  gateway = await startTestGateway({ simulators: [] });
  const servers = [await startSimulator({ rttMs: 5 }), await startSimulator({ rttMs: FAR_MS })];
  stops.push(...servers.map((server) => () => server.close()));
  const models = [{ id: 'tiny', context_length: 8_192 }];
  const register = (index: number, country: string) =>
    gateway.register({ url: String(servers[index]?.url), models, country, slots: 4 });
  norway = await register(0, 'NO');
  france = await register(1, 'FR');
  await gateway.untilServing([norway, france]);
  const { fleet } = gateway.running.gateway.router;
  const rttMs = (id: string) => fleet.get(id)?.times.rttMs ?? null;
  await vi.waitUntil(() => rttMs(norway) !== null && (rttMs(france) ?? 0) > FAR_MS / 2, { timeout: 10_000 });
});

const stops: (() => Promise<unknown>)[] = [];

afterAll(async () => {
  await gateway.stop();
  for (const stop of stops) await stop();
});

const messages = [{ role: 'user', content: 'Hello' }];

async function ask(provider?: object, headers: Record<string, string> = {}) {
  const body = {
    model: 'tiny',
    messages,
    max_tokens: 4,
    stream: true,
    ...(provider === undefined ? {} : { provider }),
  };
  const response = await gateway.post('/v1/chat/completions', body, { headers });
  return { response, text: await response.text(), worker: response.headers.get('x-faregate-worker') };
}

test('the near worker serves who asks for nothing; who bans it, or its country, is served by the other', async () => {
  expect((await ask()).worker).toBe(norway);
  for (const provider of [
    { deny: { workers: [norway] } },
    { deny: { countries: ['no'] } },
    { allow: { countries: ['FR', 'DE'] } },
    { allow: { workers: [france] } },
  ]) {
    expect((await ask(provider)).worker).toBe(france);
  }
  const header = { 'x-faregate-provider': JSON.stringify({ allow: { countries: ['FR'] } }) };
  expect((await ask(undefined, header)).worker).toBe(france);
});

test('header and body together bind: where nobody is left, nobody is asked and nothing is held', async () => {
  const header = { 'x-faregate-provider': JSON.stringify({ allow: { countries: ['FR'] } }) };
  const { response, text } = await ask({ allow: { workers: [norway] } }, header);
  expect(response.status).toBe(451);
  expect(JSON.parse(text)).toMatchObject({ error: { code: 'region_unavailable' } });
  expect(await gateway.agent('GET', '/account')).toMatchObject({ held_nanousd: '0' });
});

test('the wishes of a key hold for all its calls and all keys below it, which can only narrow them', async () => {
  const { key } = await gateway.admin('POST', `/accounts/${gateway.accountId}/keys`, {
    provider: { allow: { countries: ['fr'] }, max_ttft_ms: 5_000 },
  });
  const served = async (asKey: string, provider?: object) => {
    const body = { model: 'tiny', messages, max_tokens: 4, ...(provider === undefined ? {} : { provider }) };
    const response = await gateway.post('/v1/chat/completions', body, { key: asKey });
    await response.text();
    return response.headers.get('x-faregate-worker') ?? response.status;
  };
  expect(await served(String(key))).toBe(france);
  expect(await served(String(key), { allow: { countries: ['NO'] } })).toBe(451);
  const mint = (provider: object) => gateway.post('/v1/keys', { provider }, { key: String(key) });
  const child = (await (await mint({ deny: { workers: [france] } })).json()) as { key: string };
  expect(child).toMatchObject({ provider: { deny: { workers: [france] } } });
  expect(await served(child.key)).toBe(451);
  expect((await mint({ sort: 'fast' })).status).toBe(400);
  expect((await mint({ allow: { countries: Array(300).fill('NO') } })).status).toBe(400);
});

test('a wish for more speed than there is gets 503 with the time at which to ask again', async () => {
  const { response, text } = await ask({ max_ttft_ms: 0.001 });
  expect(response.status).toBe(503);
  expect(JSON.parse(text).error.message).toContain('max_ttft_ms');
  expect(Number(response.headers.get('retry-after-ms'))).toBeGreaterThan(0);
});

test('a model above the caller’s price is refused before anything is held', async () => {
  const { response, text } = await ask({ max_price: { completion: 0.001 } });
  expect(response.status).toBe(400);
  expect(JSON.parse(text)).toMatchObject({ error: { param: 'provider.max_price' } });
  expect((await ask({ max_price: { prompt: 1, completion: 2 } })).response.status).toBe(200);
});

test('a wish that nobody knows is refused by its name', async () => {
  const { response, text } = await ask({ order: ['op_1'] });
  expect(response.status).toBe(400);
  expect(JSON.parse(text)).toMatchObject({ error: { param: 'provider.order' } });
});

test('I13 the deadline of the caller ends its call', async () => {
  const body = { model: 'tiny', messages, max_tokens: 4_000, provider: { deadline_ms: 300 } };
  const response = await gateway.post('/v1/chat/completions', { ...body, min_tokens: 4_000, stream: true });
  const text = await response.text();
  expect(text).toMatch(/"code":"(deadline_exceeded|overloaded)"/);
});

test('R14 a call says where it went and why: predictions, scores, the reason of each refusal; prediction error is a histogram', async () => {
  const { response } = await ask({ allow: { countries: ['FR'] } });
  expect(Number(response.headers.get('x-faregate-predicted-ttft-ms'))).toBeGreaterThan(0);
  expect(response.headers.get('x-faregate-worker')).toBe(france);
  expect(response.headers.get('x-faregate-region')).not.toBeNull();
  expect(response.headers.get('x-faregate-attempts')).toBe('1');
  const call = await gateway.agent('GET', `/calls/${response.headers.get('x-faregate-call')}`);
  const [choice] = call.routing as { candidates: { worker: string }[] }[];
  expect(choice?.candidates.find(({ worker }) => worker === norway)).toMatchObject({
    country: 'NO',
    refused: 'country',
    score: null,
  });
  expect(choice?.candidates.find(({ worker }) => worker === france)).toMatchObject({
    refused: null,
    predicted_ttft_ms: expect.any(Number),
    score: expect.any(Number),
  });
  const metrics = await (
    await fetch(`${gateway.url}/metrics`, { headers: { authorization: `Bearer ${gateway.running.adminKey}` } })
  ).text();
  expect(metrics).toMatch(/faregate_ttft_prediction_error_ratio_count [1-9]/);
});
