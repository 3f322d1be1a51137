/** T15: engines that never say how many tokens they made. */
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Simulator, startSimulator } from '../../workers/simulator/server.ts';
import { startTestGateway, type TestGateway, testPrice } from '../testing.ts';

const MAX_TOKENS = 300;
/** Many say less than they may: what is counted must not be what was allowed. */
const ask = { model: 'silent', messages: [{ role: 'user', content: 'Say something about fare gates.' }] };

/** The usage that each answer had before it was taken out, the latest last. */
const truth: { prompt_tokens: number; completion_tokens: number }[] = [];
let simulator: Simulator;
let gateway: TestGateway;
const server = createServer(async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = chunks.length === 0 ? null : Buffer.concat(chunks);
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch(new URL(request.url ?? '/', simulator.url), {
    method: request.method ?? 'GET',
    headers,
    body,
  });
  response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? 'text/plain' });
  await withoutUsage(answer, response);
});

/** Every line of JSON without its `usage`; a chunk that was only about usage is left out. */
async function withoutUsage(answer: Response, response: ServerResponse): Promise<void> {
  for await (const text of lines(answer)) {
    const [, start = '', json] = /^(data: |)(\{.*\})$/.exec(text) ?? [];
    if (json === undefined) {
      response.write(`${text}\n`);
      continue;
    }
    const { usage, ...rest } = JSON.parse(json) as { usage?: (typeof truth)[number]; choices?: object[] };
    if (usage !== undefined) truth.push(usage);
    if (rest.choices?.length !== 0) response.write(`${start}${JSON.stringify(rest)}\n`);
  }
  response.end();
}

async function* lines(answer: Response): AsyncGenerator<string> {
  let rest = '';
  for await (const part of answer.body ?? []) {
    const parts = (rest + Buffer.from(part).toString()).split('\n');
    rest = parts.pop() ?? '';
    yield* parts;
  }
  if (rest !== '') yield rest;
}

beforeAll(async () => {
  simulator = await startSimulator({ model: 'silent' });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const worker = { url, models: [{ id: 'silent', context_length: 8_192 }] };
  gateway = await startTestGateway({ simulators: [], workers: [worker], price: testPrice });
});

afterAll(async () => {
  await gateway.stop();
  server.closeAllConnections();
  server.close();
  await simulator.close();
});

interface Call {
  readonly usage: { prompt_tokens: number; completion_tokens: number };
  readonly charged_nanousd: string;
  readonly held_nanousd: string;
}

test('T15: a stream whose worker reports no usage is billed by our own count: not nothing, not the ceiling', async () => {
  const answer = await gateway.post('/v1/chat/completions', { ...ask, max_tokens: MAX_TOKENS, stream: true });
  const text = await answer.text();
  expect(text).toContain('data: [DONE]');
  expect(text).not.toContain('"usage"');
  await gateway.running.gateway.ledger.settler.drain();
  const call = (await gateway.agent('GET', `/calls/${answer.headers.get('x-faregate-call')}`)) as unknown as Call;
  const said = truth.at(-1)?.completion_tokens ?? 0;
  const events = text.split('\n').filter((line) => /"content":"[^"]/.test(line)).length;
  expect(said).toBeLessThan(MAX_TOKENS);
  expect(call.usage.completion_tokens).toBe(events);
  expect(call.usage.completion_tokens).toBeGreaterThan(0);
  expect(call.usage.completion_tokens).toBeLessThanOrEqual(said);
  expect(call.usage.prompt_tokens).toBeGreaterThan(0);
  expect(call.usage.prompt_tokens).toBeLessThan(JSON.stringify(ask.messages).length);
  expect(BigInt(call.charged_nanousd)).toBeGreaterThan(0n);
  expect(BigInt(call.charged_nanousd)).toBeLessThan(BigInt(call.held_nanousd));
});

test('T15: a whole answer without usage is no answer: it is not delivered, and costs nothing', async () => {
  const answer = await gateway.post('/v1/chat/completions', { ...ask, max_tokens: MAX_TOKENS });
  expect(answer.status).toBe(502);
  expect(await answer.text()).toContain('worker_failed');
  const { data } = (await gateway.agent('GET', '/calls?limit=1')) as unknown as { data: Call[] };
  expect(data[0]?.charged_nanousd).toBe('0');
});
