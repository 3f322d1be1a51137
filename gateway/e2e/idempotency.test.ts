/** The same request again: by `Idempotency-Key`, over real sockets. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestGateway, type TestGateway } from '../testing.ts';

let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startTestGateway({ simulators: [{ decodeBaseMs: 20 }] });
});

afterAll(async () => {
  await gateway.stop();
});

let asked = 0;
const question = (more: object = {}) => ({
  model: 'tiny',
  messages: [{ role: 'user', content: `Question number ${asked++}` }],
  max_tokens: 8,
  ...more,
});

interface Asking {
  readonly idempotencyKey: string;
  readonly apiKey?: string;
  readonly signal?: AbortSignal;
}

function ask(path: string, body: unknown, { idempotencyKey, apiKey, signal }: Asking): Promise<Response> {
  return fetch(gateway.url + path, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${apiKey ?? gateway.apiKey}`,
      'content-type': 'application/json',
      'idempotency-key': idempotencyKey,
    },
    body: JSON.stringify(body),
    ...(signal === undefined ? {} : { signal }),
  });
}

const chat = (body: unknown, asking: Asking) => ask('/v1/chat/completions', body, asking);

/** How often a call of the agent was charged, from `id` on. */
async function calls(): Promise<Record<string, unknown>[]> {
  return (await gateway.agent('GET', '/calls?limit=100')).data as Record<string, unknown>[];
}

async function codeOf(response: Response): Promise<{ status: number; code: unknown }> {
  const { error } = (await response.json()) as { error: { code: unknown } };
  return { status: response.status, code: error.code };
}

describe('a request with an Idempotency-Key', () => {
  test.each([
    ['whole', false],
    ['streamed', true],
  ])('is answered again with the same bytes, %s, and charged once', async (kind, stream) => {
    const body = question({ stream });
    const before = (await calls()).length;
    const first = await chat(body, { idempotencyKey: `again ${kind}` });
    const text = await first.text();
    const second = await chat(body, { idempotencyKey: `again ${kind}` });
    expect(await second.text()).toBe(text);
    expect(first.headers.get('idempotent-replayed')).toBeNull();
    expect(second.headers.get('idempotent-replayed')).toBe('true');
    expect(second.status).toBe(200);
    for (const name of ['content-type', 'x-faregate-call', 'x-faregate-charged-nanousd']) {
      expect(second.headers.get(name)).toBe(first.headers.get(name));
    }
    expect((await calls()).length).toBe(before + 1);
  });

  test('for another body, or another path, is refused', async () => {
    const body = question();
    await (await chat(body, { idempotencyKey: 'taken' })).text();
    const mismatch = { status: 422, code: 'idempotency_mismatch' };
    expect(await codeOf(await chat(question(), { idempotencyKey: 'taken' }))).toEqual(mismatch);
    expect(await codeOf(await ask('/v1/quote', body, { idempotencyKey: 'taken' }))).toEqual(mismatch);
  });

  test('that still runs for another caller is refused with the time to wait, and answered after it', async () => {
    const body = question({ max_tokens: 20 });
    const first = chat(body, { idempotencyKey: 'busy' });
    await expect.poll(() => gateway.running.gateway.openCalls.size).toBe(1);
    const second = await chat(body, { idempotencyKey: 'busy' });
    expect(Number(second.headers.get('retry-after-ms'))).toBeGreaterThan(0);
    expect(await codeOf(second)).toEqual({ status: 409, code: 'request_in_progress' });
    const text = await (await first).text();
    expect(await (await chat(body, { idempotencyKey: 'busy' })).text()).toBe(text);
  });

  test('fifty times at once makes one model run', async () => {
    const before = (await calls()).length;
    const body = question();
    const patient = async () => {
      for (;;) {
        const response = await chat(body, { idempotencyKey: 'fifty' });
        const text = await response.text();
        if (response.status !== 409) return text;
        await sleep(50);
      }
    };
    const texts = await Promise.all(Array.from({ length: 50 }, patient));
    expect(new Set(texts).size).toBe(1);
    expect(texts[0]).toContain('"charged_nanousd"');
    expect((await calls()).length).toBe(before + 1);
  });

  test('joins a stream that has begun: what it missed first, then the rest', async () => {
    const body = question({ stream: true, max_tokens: 30 });
    const first = await chat(body, { idempotencyKey: 'stream' });
    const late = await Promise.all(Array.from({ length: 5 }, () => chat(body, { idempotencyKey: 'stream' })));
    const texts = await Promise.all([first, ...late].map((response) => response.text()));
    expect(new Set(texts).size).toBe(1);
    expect(texts[0]).toMatch(/\[DONE\]\n\n$/);
    expect(late.map(({ headers }) => headers.get('idempotent-replayed'))).toEqual(Array(5).fill('true'));
  });

  test.each([
    ['whole', false],
    ['streamed', true],
  ])('goes on when its caller leaves, and the caller who comes back gets all of it, %s', async (kind, stream) => {
    const body = question({ stream, max_tokens: 20 });
    const control = new AbortController();
    const first = chat(body, { idempotencyKey: `leave ${kind}`, signal: control.signal }).catch(() => null);
    await expect.poll(() => gateway.running.gateway.openCalls.size).toBe(1);
    if (stream) await first;
    control.abort();
    await first;
    const second = await chat(body, { idempotencyKey: `leave ${kind}` });
    const text = await second.text();
    const call = await gateway.agent('GET', `/calls/${second.headers.get('x-faregate-call')}`);
    expect(call).toMatchObject({ outcome: 'complete', usage: { completion_tokens: 20 } });
    expect(text.length).toBeGreaterThan(100);
  });

  test('that was refused and charged nothing may be sent again, and is then a call', async () => {
    const { id } = await gateway.admin('POST', '/accounts', { name: 'poor' });
    const apiKey = String((await gateway.admin('POST', `/accounts/${id}/keys`, {})).key);
    const body = question();
    const refused = await chat(body, { idempotencyKey: 'refused', apiKey });
    expect(await codeOf(refused)).toEqual({ status: 402, code: 'insufficient_balance' });
    await gateway.admin('POST', `/accounts/${id}/credits`, { nanousd: '1000000000', reference: 'late' });
    const served = await chat(body, { idempotencyKey: 'refused', apiKey });
    expect(served.status).toBe(200);
    expect(served.headers.get('idempotent-replayed')).toBeNull();
    await served.text();
  });

  test('whose stream broke after it was charged is answered with the same broken stream', async () => {
    gateway.simulators[0]?.faults.set({ fault: 'cut', afterTokens: 3, count: 1 });
    const body = question({ stream: true, max_tokens: 30 });
    const first = await (await chat(body, { idempotencyKey: 'broken' })).text();
    expect(first).toContain('worker_failed');
    const second = await chat(body, { idempotencyKey: 'broken' });
    expect(await second.text()).toBe(first);
    expect(second.headers.get('idempotent-replayed')).toBe('true');
  });

  test("never meets another account's request of the same key", async () => {
    const { id } = await gateway.admin('POST', '/accounts', { name: 'stranger' });
    await gateway.admin('POST', `/accounts/${id}/credits`, { nanousd: '1000000000', reference: 'funds' });
    const apiKey = String((await gateway.admin('POST', `/accounts/${id}/keys`, {})).key);
    const body = question();
    const own = await chat(body, { idempotencyKey: 'common' });
    const other = await chat(body, { idempotencyKey: 'common', apiKey });
    expect(other.status).toBe(200);
    expect(other.headers.get('x-faregate-call')).not.toBe(own.headers.get('x-faregate-call'));
    expect((await chat(question(), { idempotencyKey: 'common', apiKey })).status).toBe(422);
    await Promise.all([own.text(), other.text()]);
  });

  test('can be one for an ordinary route too', async () => {
    const body = question();
    const first = await ask('/v1/quote', body, { idempotencyKey: 'quote' });
    const second = await ask('/v1/quote', body, { idempotencyKey: 'quote' });
    expect(second.headers.get('idempotent-replayed')).toBe('true');
    expect(await second.text()).toBe(await first.text());
    const wrong = { status: 404, code: 'model_not_found' };
    const missing = { ...body, model: 'none' };
    expect(await codeOf(await ask('/v1/quote', missing, { idempotencyKey: 'wrong' }))).toEqual(wrong);
    expect((await ask('/v1/quote', body, { idempotencyKey: 'wrong' })).status).toBe(200);
  });

  test('of no or too many characters is refused', async () => {
    for (const idempotencyKey of ['', 'k'.repeat(256)]) {
      const refused = await chat(question(), { idempotencyKey });
      expect(await codeOf(refused)).toEqual({ status: 400, code: 'invalid_request' });
    }
  });
});
