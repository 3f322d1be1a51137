import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestGateway, type TestGateway } from './testing.ts';
import { type Ask, asker, errorOf } from './testing-routes.ts';

let gateway: TestGateway;
let agent: Ask;

beforeAll(async () => {
  gateway = await startTestGateway();
  agent = asker(gateway.url, gateway.apiKey);
  for (let calls = 0; calls < 3; calls++) {
    const messages = [{ role: 'user', content: `Question ${calls}` }];
    await (await gateway.post('/v1/chat/completions', { model: 'tiny', messages, max_tokens: 4 })).text();
  }
});

afterAll(async () => {
  await gateway.stop();
});

test.each(['minute', 'hour', 'day'])('the sums by %s are those of the calls', async (per) => {
  const from = new Date(Date.now() - 3_600_000).toISOString();
  const { body } = await agent('GET', `/v1/usage?from=${from}&per=${per}`);
  const sums = body.data as Record<string, string>[];
  const { body: list } = await agent('GET', '/v1/calls');
  const calls = list.data as { charged_nanousd: string; billed_ms: number; usage: Record<string, number> }[];
  const total = (of: (call: (typeof calls)[number]) => number | string) =>
    calls.reduce((sum, call) => sum + BigInt(of(call)), 0n);
  const told = (name: string) => sums.reduce((sum, step) => sum + BigInt(step[name] ?? ''), 0n);
  expect(told('calls')).toBe(3n);
  expect(told('charged_nanousd')).toBe(total((call) => call.charged_nanousd));
  expect(told('billed_ms')).toBe(total((call) => call.billed_ms));
  for (const name of ['prompt_tokens', 'cached_tokens', 'completion_tokens'])
    expect(told(name)).toBe(total((call) => call.usage[name] ?? 0));
  for (const { start = '', model } of sums) {
    expect(model).toBe('tiny');
    expect(Date.parse(start) % { minute: 60_000, hour: 3_600_000, day: 86_400_000 }[per as 'minute']).toBe(0);
  }
});

test("another account's usage is not in it, and what is too long or backwards is refused", async () => {
  const { id } = await gateway.admin('POST', '/accounts', { name: 'stranger' });
  const { key } = await gateway.admin('POST', `/accounts/${id}/keys`, {});
  expect((await asker(gateway.url, String(key))('GET', '/v1/usage?from=2026-01-01&per=day')).body.data).toEqual([]);
  const refused = async (query: string) => errorOf(await agent('GET', `/v1/usage?${query}`));
  expect(await refused('from=2020-01-01&per=minute')).toMatchObject({ status: 400, param: 'per' });
  expect(await refused('from=2026-01-02&to=2026-01-01')).toMatchObject({ status: 400, param: 'from' });
  expect(await refused('')).toMatchObject({ status: 400, param: 'from' });
});
