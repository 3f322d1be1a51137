import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { FaultRule } from './faults.ts';
import { kindsOfStream, parseEvents } from './replay/events.ts';
import { call, type Received } from './replay/wire.ts';
import { type Simulator, startSimulator } from './server.ts';

let simulator: Simulator;

beforeAll(async () => {
  simulator = await startSimulator({ prefillTokensPerSecond: 1e6, decodeBaseMs: 0, decodePerRequestMs: 0 });
});

afterAll(() => simulator.close());

/** When a client gives up on an answer that never ends, and on any other. */
const GIVE_UP_MS = { endless: 500, other: 10_000 };

function chat(
  more: object = {},
  headers: Record<string, string> = {},
  url = simulator.url,
  limitMs = GIVE_UP_MS.other,
): Promise<Received> {
  const messages = [{ role: 'user', content: 'Hello there' }];
  const body = Buffer.from(JSON.stringify({ messages, max_tokens: 12, ...more }));
  const head = { 'Content-Type': 'application/json', ...headers };
  return call(url, { method: 'POST', path: '/v1/chat/completions', headers: head, body }, limitMs);
}

async function struck(rule: FaultRule, stream: boolean): Promise<Received> {
  simulator.faults.set({ count: 1, ...rule });
  const endless = rule.fault === 'silent' || (rule.ms ?? 0) > GIVE_UP_MS.other;
  const options = { stream, stream_options: stream ? { include_usage: true } : null };
  return await chat(options, {}, simulator.url, endless ? GIVE_UP_MS.endless : GIVE_UP_MS.other);
}

/** How a stream went, in one line. */
function tell({ status, chunks, ended, complete }: Received): string {
  if (chunks === null) {
    return `${status} ${ended}`;
  }
  const kinds = kindsOfStream(parseEvents(chunks)) as [number, string[]][];
  const said = kinds.toSorted(([a], [b]) => b - a).map(([, list]) => list.join(' '));
  return `${status} [${said.join(' | ')}] ${ended}${complete ? '' : ', no last chunk'}`;
}

const WELL = '200 [role content finish | usage done] closed';

describe('a stream', () => {
  const cases: readonly [FaultRule, string][] = [
    [{ fault: 'engine-error' }, '200 [role content | error done] closed'],
    [{ fault: 'engine-error', afterTokens: 0 }, '200 [error done] closed'],
    [{ fault: 'abort-running' }, '200 [role content finish | usage done] closed'],
    [{ fault: 'abort-running', afterTokens: 0 }, '200 [role | done] closed'],
    [{ fault: 'abort-queued' }, '200 [role | done] closed'],
    [{ fault: 'silent' }, '200 [role content] aborted by client, no last chunk'],
    [{ fault: 'silent', afterTokens: 0 }, '200 [] aborted by client, no last chunk'],
    [{ fault: 'stall', ms: 60_000 }, '200 [role content] aborted by client, no last chunk'],
    [{ fault: 'stall', ms: 30 }, WELL],
    [{ fault: 'cut' }, '200 [role content] closed, no last chunk'],
    [{ fault: 'cut', afterTokens: 0 }, '200 [] closed, no last chunk'],
    [{ fault: 'split' }, WELL],
    [{ fault: 'slow-drip', ms: 1 }, WELL],
    [{ fault: 'fail-fast' }, '500 closed'],
    [{ fault: 'queue-full' }, '503 closed'],
    [{ fault: 'queue-full-late' }, '200 [error done] closed'],
    [{ fault: 'status', status: 429 }, '429 closed'],
    [{ fault: 'fast-first-token' }, WELL],
    [{ fault: 'inflated-usage' }, WELL],
    [{ fault: 'wrong-model' }, WELL],
    [{ fault: 'no-finish' }, '200 [role content | usage done] closed'],
    [{ fault: 'bare-done' }, '200 [done] closed'],
    [{ fault: 'empty' }, '200 [] closed'],
    [{ fault: 'empty-content' }, '200 [role content finish content | usage done] closed'],
  ];

  test.for(cases)('%o', async ([rule, expected]) => {
    expect(tell(await struck(rule, true))).toBe(expected);
    expect(tell(await chat({ stream: true, stream_options: { include_usage: true } }))).toBe(WELL);
  });

  test('that is reset ends in the middle of a chunk, with no orderly close', async () => {
    const { ended, complete } = await struck({ fault: 'reset' }, true);
    expect([ended, complete]).toEqual(['reset', false]);
  });

  test('with garbage in it holds an event that is no JSON', async () => {
    const { chunks, complete } = await struck({ fault: 'garbage' }, true);
    expect(() => JSON.parse(chunks?.at(-1)?.replace('data: ', '') ?? '')).toThrow();
    expect(complete).toBe(true);
  });

  test('that is split breaks lines and characters, but not its content', async () => {
    simulator.faults.set({ fault: 'split', count: 1 });
    const messages = [{ role: 'user', content: 'Say it' }];
    const choice = { structured_outputs: { choice: ['漢字と電車'] } };
    const { chunks } = await chat({ stream: true, messages, ...choice });
    expect(Math.max(...(chunks ?? []).map((chunk) => Buffer.from(chunk).length))).toBeLessThan(30);
    expect((chunks ?? []).length).toBeGreaterThan(50);
  });
});

describe('a whole answer', () => {
  const cases: readonly [FaultRule, string][] = [
    [{ fault: 'engine-error' }, '500 closed'],
    [{ fault: 'abort-queued' }, '200 closed'],
    [{ fault: 'silent' }, 'null aborted by client'],
    [{ fault: 'cut' }, 'null closed'],
    [{ fault: 'fail-fast' }, '500 closed'],
    [{ fault: 'queue-full' }, '503 closed'],
    [{ fault: 'empty' }, '200 closed'],
  ];

  test.for(cases)('%o', async ([rule, expected]) => {
    expect(tell(await struck(rule, false))).toBe(expected);
  });

  test('that is aborted tells so, with what was said', async () => {
    const { body } = await struck({ fault: 'abort-running' }, false);
    expect(JSON.parse(body)).toMatchObject({
      choices: [{ finish_reason: 'abort' }],
      usage: { completion_tokens: 3 },
    });
  });

  test('lies about its model and its tokens when told to', async () => {
    const [model, usage] = [
      await struck({ fault: 'wrong-model' }, false),
      await struck({ fault: 'inflated-usage', factor: 3 }, false),
    ];
    expect(JSON.parse(model.body).model).not.toBe('tiny');
    expect(JSON.parse(usage.body).usage).toMatchObject({ completion_tokens: 36 });
  });

  test('shorter than the fault needs is struck at its end', async () => {
    simulator.faults.set({ fault: 'engine-error', count: 1, afterTokens: 100 });
    expect((await chat()).status).toBe(500);
  });
});

describe('rules', () => {
  test('hit as many calls as they say, in the order in which they were set', async () => {
    simulator.faults.set({ fault: 'queue-full', count: 2 });
    simulator.faults.set({ fault: 'fail-fast', count: 1 });
    const statuses = [];
    for (let made = 0; made < 4; made += 1) {
      statuses.push((await chat()).status);
    }
    expect(statuses).toEqual([503, 503, 500, 200]);
    expect(simulator.faults.rules).toEqual([]);
  });

  test('may come with the call, in a header or in the body', async () => {
    expect((await chat({}, { 'x-simulate-fault': 'fail-fast' })).status).toBe(500);
    expect((await chat({}, { 'x-simulate-fault': '{"fault":"status","status":429}' })).status).toBe(429);
    expect((await chat({ simulate_fault: 'queue-full' })).status).toBe(503);
    expect((await chat({ simulate_fault: 'no such fault' })).status).toBe(400);
  });

  test('can be set, listed and cleared over HTTP', async () => {
    const url = `${simulator.url}/simulator/faults`;
    await fetch(url, { method: 'POST', body: JSON.stringify({ fault: 'cut', after_tokens: 5, count: null }) });
    const listed = await (await fetch(url)).json();
    expect(listed).toEqual({ faults: [{ fault: 'cut', afterTokens: 5, count: null }] });
    await fetch(url, { method: 'POST', body: JSON.stringify({ fault: 'none' }) });
    expect((await chat()).status).toBe(200);
    expect((await fetch(url, { method: 'POST', body: '{"fault":"no such fault"}' })).status).toBe(400);
  });
});

describe('the whole server', () => {
  test('drains: new calls fail, health is well, running ones fall silent when the time is over', async () => {
    const server = await startSimulator({ decodeBaseMs: 5 });
    const running = chat({ stream: true, max_tokens: 1000, ignore_eos: true }, {}, server.url, 2000);
    await new Promise((resolve) => setTimeout(resolve, 50));
    server.faults.set({ fault: 'sigterm-drain', ms: 100 });
    const [health, fresh] = [await fetch(`${server.url}/health`), await chat({}, {}, server.url)];
    const { ended, complete } = await running;
    await server.close();
    expect([health.status, fresh.status, ended, complete]).toEqual([200, 500, 'aborted by client', false]);
  });

  test('dies and comes back: embeddings fail as chats do', async () => {
    const server = await startSimulator({ embeddings: true });
    const embed = () =>
      fetch(`${server.url}/v1/embeddings`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{"input":"Hello"}',
      });
    server.faults.set({ fault: 'engine-dead' });
    const dead = [await embed(), await fetch(`${server.url}/health`), await fetch(`${server.url}/v1/models`)];
    server.faults.clear();
    server.faults.set({ fault: 'engine-error', count: 1 });
    const after = [await embed(), await embed()];
    await server.close();
    expect(dead.map(({ status }) => status)).toEqual([500, 503, 200]);
    expect(after.map(({ status }) => status)).toEqual([500, 200]);
  });
});
