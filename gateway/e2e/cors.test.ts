/** Scripts of other origins: those that the host allows may call and read what comes, others may not. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestGateway, type TestGateway } from '../testing.ts';

const ORIGIN = 'https://app.example';
const question = { model: 'tiny', messages: [{ role: 'user', content: 'Hello' }], max_tokens: 2 };

let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startTestGateway({ config: { corsOrigins: [ORIGIN] } });
});

afterAll(async () => {
  await gateway.stop();
});

const allowedOf = ({ headers }: Response) => ({
  origin: headers.get('access-control-allow-origin'),
  exposed: headers.get('access-control-expose-headers'),
});

test.each([
  ['a whole answer', '/v1/chat/completions', question],
  ['a stream', '/v1/chat/completions', { ...question, stream: true }],
  ['an answer at an address with a query', '/v1/chat/completions?trace=1', question],
  ['a refusal', '/v1/chat/completions', { ...question, model: 'nobody' }],
])(
  '%s may be read by scripts of the allowed origin, with all of its headers, and by no others',
  async (_, path, body) => {
    const answer = await gateway.post(path, body, { headers: { origin: ORIGIN } });
    expect(allowedOf(answer)).toEqual({ origin: ORIGIN, exposed: '*' });
    await answer.text();
    const stranger = await gateway.post(path, body, { headers: { origin: 'https://other.example' } });
    expect(allowedOf(stranger).origin).toBeNull();
    await stranger.text();
  },
);

test('a browser that asks first is told that it may call, and other pages of the API are open to it too', async () => {
  const headers = {
    origin: ORIGIN,
    'access-control-request-method': 'POST',
    'access-control-request-headers': 'authorization',
  };
  const first = await fetch(`${gateway.url}/v1/chat/completions`, { method: 'OPTIONS', headers });
  expect(first.status).toBe(204);
  expect(allowedOf(first).origin).toBe(ORIGIN);
  expect(first.headers.get('access-control-allow-headers')).toBe('authorization');
  expect(allowedOf(await fetch(`${gateway.url}/v1/models`, { headers: { origin: ORIGIN } }))).toEqual({
    origin: ORIGIN,
    exposed: '*',
  });
});
