import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestGateway, type TestGateway } from './testing.ts';

let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startTestGateway();
});

afterAll(async () => {
  gateway.running.gateway.accepting = true;
  await gateway.stop();
});

async function get(path: string): Promise<{ status: number; text: string; headers: Headers }> {
  const response = await fetch(gateway.url + path);
  return { status: response.status, text: await response.text(), headers: response.headers };
}

test('a gateway that serves is alive and ready', async () => {
  expect(await get('/healthz')).toMatchObject({ status: 200, text: '{"status":"ok"}' });
  expect(await get('/readyz')).toMatchObject({ status: 200, text: '{"status":"ready"}' });
});

test('a gateway that drains is alive and not ready, in the shape of every error', async () => {
  gateway.running.gateway.accepting = false;
  const { status, text } = await get('/readyz');
  expect(status).toBe(503);
  expect(JSON.parse(text)).toMatchObject({ error: { code: 'overloaded' } });
  expect(await get('/healthz')).toMatchObject({ status: 200 });
  gateway.running.gateway.accepting = true;
});

test('metrics count calls, tokens, money, errors and workers', async () => {
  const body = { model: 'tiny', messages: [{ role: 'user', content: 'Hi' }], max_tokens: 4 };
  await (await gateway.post('/v1/chat/completions', { ...body, stream: true })).text();
  await (await gateway.post('/v1/chat/completions', { ...body, model: 'none' })).text();
  const { text, headers } = await get('/metrics');
  expect(headers.get('content-type')).toContain('text/plain');
  const labels = 'gen_ai_operation_name="chat",gen_ai_request_model="tiny"';
  for (const line of [
    'faregate_calls_total{outcome="complete"} 1',
    'faregate_errors_total{code="model_not_found"} 1',
    `gen_ai_server_request_duration_seconds_count{${labels}} 1`,
    `gen_ai_server_time_to_first_token_seconds_count{${labels}} 1`,
    `gen_ai_server_time_per_output_token_seconds_count{${labels}} 1`,
    `gen_ai_client_token_usage_sum{${labels},gen_ai_token_type="output"} 4`,
    'faregate_overhead_seconds_count 1',
    'faregate_holds_open 0',
    'faregate_held_nanousd 0',
    'faregate_ledger_healthy 1',
  ]) {
    expect(text.split('\n')).toContain(line);
  }
  expect(text).toMatch(/^faregate_charged_nanousd_total [1-9]/m);
  expect(text).toMatch(/^faregate_workers\{state="(probation|active)"\} 1$/m);
  expect(text).not.toContain('none"');
});

test('an unknown model makes no label of its own: labels stay few', async () => {
  for (let count = 0; count < 3; count++) {
    await (await gateway.post('/v1/chat/completions', { model: `guess-${count}`, messages: [] })).text();
  }
  expect((await get('/metrics')).text).not.toContain('guess-');
});

test('llms.txt names the base URL, the prices in force and only endpoints that exist', async () => {
  const { text } = await get('/llms.txt');
  expect(text).toContain(`${gateway.url}/v1`);
  expect(text).toContain('- tiny: input 1000000, cached input 500000, output 2000000; 10 per ms');
  const { paths } = JSON.parse((await get('/openapi.json')).text) as { paths: object };
  const known = Object.keys(paths);
  const named = [...text.matchAll(/ (\/v1\/[\w/{}.-]+)/g)].map(([, path = '']) => path.replace(/[:,]$/, ''));
  expect(named.length).toBeGreaterThan(6);
  for (const path of named) expect(known).toContain(path);
});
