import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestGateway, type TestGateway } from '../testing.ts';

const words = 'word '.repeat(300);
let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startTestGateway({ simulators: [{ prefillTokensPerSecond: 1_000, decodeBaseMs: 20 }] });
});

afterAll(async () => {
  await gateway.stop();
});

interface Facts {
  readonly outcome: string;
  readonly usage: { prompt_tokens: number; completion_tokens: number };
  readonly charged_nanousd: string;
}

/** The newest call of the agent, once it is closed. */
async function newestClosed(): Promise<Facts> {
  let newest: (Facts & { status: string }) | undefined;
  await expect
    .poll(
      async () => {
        const { data } = await gateway.agent('GET', '/calls?limit=1');
        newest = (data as (Facts & { status: string })[])[0];
        return newest?.status;
      },
      { timeout: 10_000 },
    )
    .toBe('closed');
  if (newest === undefined) throw new Error('no call');
  return newest;
}

/** How many calls the worker's engine runs or queues. */
async function atWorker(): Promise<number> {
  const text = await (await fetch(`${gateway.simulators[0]?.url}/metrics`)).text();
  const gauges = [...text.matchAll(/^vllm:num_requests_(?:running|waiting)\{[^}]*\} (\S+)/gm)];
  return gauges.reduce((sum, [, value]) => sum + Number(value), 0);
}

async function leave(
  headers: Record<string, string>,
  body: object,
  when: (bytes: number) => boolean,
  afterMs: number,
): Promise<void> {
  const control = new AbortController();
  const timer = setTimeout(() => control.abort(), afterMs);
  try {
    const response = await gateway.post('/v1/chat/completions', body, { signal: control.signal, headers });
    let bytes = 0;
    for await (const chunk of response.body ?? []) {
      bytes += chunk.length;
      if (when(bytes)) control.abort();
    }
  } catch {
    // Aborted, as meant.
  }
  clearTimeout(timer);
}

const ask = (content: string, stream: boolean) => ({
  model: 'tiny',
  messages: [{ role: 'user', content }],
  max_tokens: 1_000,
  min_tokens: 1_000,
  stream,
});

describe.each([
  ['a plain client', {}],
  ['a stock client, which may ask again', { 'x-stainless-retry-count': '0' }],
])('I11 %s that leaves', (_client, headers: Record<string, string>) => {
  test.each([
    ['during the prefill of a stream', ask(words, true), () => false, 100, 0],
    ['during the prefill of a whole answer', ask(words, false), () => false, 100, 0],
    ['in mid-stream', ask('Go on for long.', true), (bytes: number) => bytes > 1_500, 20_000, 1],
    ['in the middle of a whole answer', ask('Go on for long.', false), () => false, 800, 0],
  ])(
    '%s: the worker is freed, and prompt and delivered tokens are charged',
    async (_, body, when, afterMs, delivered) => {
      await leave(headers, body, when, afterMs);
      await expect.poll(atWorker, { interval: 20, timeout: 1_000 }).toBe(0);
      const call = await newestClosed();
      expect(call.outcome).toBe('aborted');
      expect(call.usage.prompt_tokens).toBeGreaterThan(0);
      expect(BigInt(call.charged_nanousd)).toBeGreaterThan(0n);
      expect(call.usage.completion_tokens).toBeGreaterThanOrEqual(delivered);
      expect(call.usage.completion_tokens).toBeLessThan(delivered === 0 ? 1 : 200);
    },
  );
});

describe('a caller who leaves', () => {
  test('before anything was sent pays nothing', async () => {
    const before = await gateway.agent('GET', '/account');
    const control = new AbortController();
    control.abort();
    await gateway.post('/v1/chat/completions', ask('Hello', true), { signal: control.signal }).catch(() => {});
    expect(await gateway.agent('GET', '/account')).toEqual(before);
  });
});
