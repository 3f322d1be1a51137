import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestGateway, type TestGateway } from '../testing.ts';

const HEAD_WAIT_MS = 100;
const KEEP_ALIVE_MS = 50;
const FIRST_CONTENT_MS = 1_500;
/** vLLM closes a connection that was idle for five seconds. */
const IDLE_PAST_VLLM_MS = 5_300;

let gateway: TestGateway;

beforeAll(async () => {
  const limits = { headWaitMs: HEAD_WAIT_MS, keepAliveMs: KEEP_ALIVE_MS, firstContentMs: FIRST_CONTENT_MS };
  gateway = await startTestGateway({ simulators: [{}], limits });
});

afterAll(async () => {
  await gateway.stop();
});

function ask(stream: boolean): Promise<Response> {
  const messages = [{ role: 'user', content: 'Hello' }];
  return gateway.post('/v1/chat/completions', { model: 'tiny', messages, max_tokens: 4, stream });
}

test('I28 a stream that waits gets its head and comments, which clients skip, and then its answer', async () => {
  gateway.simulators[0]?.faults.set({ fault: 'stall', afterTokens: 0, ms: 600, count: 1 });
  const response = await ask(true);
  const text = await response.text();
  expect(response.status).toBe(200);
  expect(text.startsWith(': ')).toBe(true);
  expect(text.match(/^: /gm)?.length).toBeGreaterThan(2);
  expect(text).toContain('"finish_reason":"length"');
  expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
});

test('a stream that waited and got nothing is told so inside the stream, with no finish, and pays nothing', async () => {
  gateway.simulators[0]?.faults.set({ fault: 'silent', afterTokens: 0, count: 1 });
  const response = await ask(true);
  const text = await response.text();
  expect(response.status).toBe(200);
  expect(text).toMatch(/"code":"(deadline_exceeded|worker_failed)"/);
  expect(text).not.toContain('"finish_reason":"');
  expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
  const id = response.headers.get('x-faregate-call');
  expect(await gateway.agent('GET', `/calls/${id}`)).toMatchObject({ outcome: 'failed', charged_nanousd: '0' });
});

test('a worker that closed its idle connections meanwhile costs the next call nothing, not even an attempt', async () => {
  expect((await ask(false)).status).toBe(200);
  await new Promise((resolve) => setTimeout(resolve, IDLE_PAST_VLLM_MS));
  const responses = await Promise.all([ask(false), ask(true)]);
  for (const response of responses) {
    expect(response.status).toBe(200);
    expect(response.headers.get('x-faregate-attempts')).toBe('1');
    expect(await response.text()).toContain('"finish_reason":"length"');
  }
}, 30_000);
