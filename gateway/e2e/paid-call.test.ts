import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cost } from '../../payments/prices.ts';
import { startTestGateway, type TestGateway, testPrice } from '../testing.ts';
import { type Edge, startEdge } from './edge.ts';

const price = { input: 1_000_000n, cachedInput: 500_000n, output: 2_000_000n, perMs: 10n, version: 0, model: 'tiny' };
const messages = [{ role: 'user', content: 'Say something about fare gates.' }];

let gateway: TestGateway;
let edge: Edge;

beforeAll(async () => {
  gateway = await startTestGateway({ price: testPrice });
  edge = await startEdge(gateway.database.url);
});

afterAll(async () => {
  await edge.stop();
  await gateway.stop();
});

interface CallFacts {
  status: string;
  outcome: string;
  usage: { prompt_tokens: number; cached_tokens: number; completion_tokens: number };
  charged_nanousd: string;
  held_nanousd: string;
  operator_nanousd: string;
  billed_ms: number;
  worker: string;
}

async function closedCall(id: string): Promise<CallFacts> {
  for (let left = 200; left > 0; left--) {
    const call = (await gateway.agent('GET', `/calls/${id}`)) as unknown as CallFacts;
    if (call.status === 'closed') return call;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`call ${id} stays open`);
}

/** What `cost()` says of the call's own record. */
function exact(call: CallFacts): string {
  const { prompt_tokens, cached_tokens, completion_tokens } = call.usage;
  return cost(price, {
    promptTokens: prompt_tokens,
    cachedTokens: cached_tokens,
    completionTokens: completion_tokens,
    billedMs: call.billed_ms,
  }).toString();
}

function events(text: string): Record<string, unknown>[] {
  return text
    .split('\n\n')
    .filter((frame) => frame.startsWith('data: {'))
    .map((frame) => JSON.parse(frame.slice(6)) as Record<string, unknown>);
}

describe.each(['Node', 'Workers'] as const)('one paid call, answered by the entry for %s', (entry) => {
  const post: TestGateway['post'] = (path, body, init) =>
    gateway.post(entry === 'Node' ? path : edge.url + path, body, init);

  test('a whole answer is charged exactly, says so in its usage, and pays the operator its share', async () => {
    const before = await gateway.agent('GET', '/account');
    const earned = await gateway.operator('GET', '/earnings');
    const response = await post('/v1/chat/completions', { model: 'tiny', messages, max_tokens: 20 });
    expect(response.status).toBe(200);
    const answer = (await response.json()) as { id: string; usage: Record<string, never> };
    const id = String(response.headers.get('x-faregate-call'));
    expect(answer.id).toBe(`chatcmpl-${id}`);
    const call = await closedCall(id);
    expect(call.outcome).toBe('complete');
    expect(call.charged_nanousd).toBe(exact(call));
    expect(call.operator_nanousd).toBe(((BigInt(call.charged_nanousd) * 900_000n) / 1_000_000n).toString());
    expect(response.headers.get('x-faregate-charged-nanousd')).toBe(call.charged_nanousd);
    expect(answer.usage).toMatchObject({
      cost: Number(call.charged_nanousd) / 1e9,
      faregate: {
        call: id,
        charged_nanousd: call.charged_nanousd,
        held_nanousd: call.held_nanousd,
        worker: call.worker,
      },
    });
    const after = await gateway.agent('GET', '/account');
    expect(BigInt(String(before.balance_nanousd)) - BigInt(String(after.balance_nanousd))).toBe(
      BigInt(call.charged_nanousd),
    );
    const earnedAfter = await gateway.operator('GET', '/earnings');
    expect(BigInt(String(earnedAfter.earned_nanousd)) - BigInt(String(earned.earned_nanousd))).toBe(
      BigInt(call.operator_nanousd),
    );
  });

  test('a stream without include_usage shows no usage, and is charged the same way', async () => {
    const body = { model: 'tiny', messages, max_tokens: 20, stream: true };
    const response = await post('/v1/chat/completions', body);
    const text = await response.text();
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
    expect(text).not.toContain('"usage":{');
    const call = await closedCall(String(response.headers.get('x-faregate-call')));
    expect(call.usage.completion_tokens).toBeGreaterThan(0);
    expect(call.charged_nanousd).toBe(exact(call));
  });

  test('a stream with include_usage has exactly one usage chunk, last before [DONE], with the charge in it', async () => {
    const body = { model: 'tiny', messages, max_tokens: 20, stream: true, stream_options: { include_usage: true } };
    const response = await post('/v1/chat/completions', body);
    const all = events(await response.text());
    const withUsage = all.filter((event) => event.usage !== undefined && event.usage !== null);
    expect(withUsage).toHaveLength(1);
    expect(withUsage[0]).toBe(all.at(-1));
    const call = await closedCall(String(response.headers.get('x-faregate-call')));
    expect(withUsage[0]).toMatchObject({ choices: [], usage: { faregate: { charged_nanousd: call.charged_nanousd } } });
  });

  test('a caller may have the running usage in every chunk', async () => {
    const stream_options = { include_usage: true, continuous_usage_stats: true };
    const response = await post('/v1/chat/completions', {
      model: 'tiny',
      messages,
      max_tokens: 8,
      stream: true,
      stream_options,
    });
    const all = events(await response.text());
    expect(all.every((event) => event.usage !== undefined)).toBe(true);
  });

  test('the headers tell the call, the worker, the region, the attempts, the hold and the prediction', async () => {
    const response = await post('/v1/chat/completions', { model: 'tiny', messages, max_tokens: 4 });
    await response.text();
    for (const name of ['call', 'worker', 'region', 'attempts', 'held-nanousd', 'predicted-ttft-ms']) {
      expect(response.headers.get(`x-faregate-${name}`), name).toBeTruthy();
    }
    expect(response.headers.get('x-ratelimit-remaining-requests')).toBeTruthy();
  });
});

test('a model is not asked for what it does not do, and no worker is blamed for it', async () => {
  for (let times = 0; times < 6; times++) {
    const response = await gateway.post('/v1/embeddings', { model: 'tiny', input: 'Hello' });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { code: 'invalid_request', param: 'model' } });
  }
  const { data } = await gateway.admin('GET', '/workers');
  expect((data as { state: string }[])[0]?.state).not.toBe('degraded');
});
