import OpenAI, { RateLimitError } from 'openai';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { startTestGateway, type TestGateway } from '../testing.ts';

const limits = { requestsPerMinute: 3, tokensPerMinute: 4_000, openStreams: 1 };
const messages = [{ role: 'user' as const, content: 'Hello' }];

let gateway: TestGateway;
let client: OpenAI;

beforeAll(async () => {
  gateway = await startTestGateway({ limits, simulators: [{ decodeBaseMs: 20 }] });
});

beforeEach(async () => {
  const { key } = await gateway.admin('POST', `/accounts/${gateway.accountId}/keys`, {});
  client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: String(key), maxRetries: 0 });
});

afterAll(async () => {
  await gateway.stop();
});

async function refusal(work: Promise<unknown>): Promise<RateLimitError> {
  const error = await work.then(
    () => null,
    (caught: unknown) => caught,
  );
  if (!(error instanceof RateLimitError)) throw new Error(`expected a RateLimitError, got ${String(error)}`);
  expect(error.code).toBe('rate_limited');
  expect(error.message).toContain("this key's own limit".slice(1));
  return error;
}

const ask = (max_tokens: number) => client.chat.completions.create({ model: 'tiny', messages, max_tokens });

test('above its requests per minute a key is told that the limit is its own and when to ask again', async () => {
  for (let times = 0; times < limits.requestsPerMinute; times++) await ask(1);
  const error = await refusal(ask(1));
  expect(error.headers.get('x-ratelimit-limit-requests')).toBe('3');
  expect(error.headers.get('x-ratelimit-remaining-requests')).toBe('0');
  expect(Number(error.headers.get('retry-after-ms'))).toBeGreaterThan(0);
  expect(Number(error.headers.get('retry-after'))).toBeGreaterThan(0);
});

test('a call above its tokens per minute is refused before any money is held', async () => {
  const error = await refusal(ask(5_000));
  expect(error.headers.get('x-ratelimit-limit-tokens')).toBe('4000');
  expect(await gateway.agent('GET', '/account')).toMatchObject({ held_nanousd: '0' });
});

test('a second open stream is refused while the first runs, and admitted after it', async () => {
  const body = { model: 'tiny', messages, max_tokens: 20, stream: true as const };
  const first = await client.chat.completions.create(body);
  await refusal(client.chat.completions.create(body));
  for await (const _ of first);
  for await (const _ of await client.chat.completions.create(body));
});
