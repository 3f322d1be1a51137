/** I24: gateways and proxies that cut what is silent for five seconds, by a limit that nobody knew of. */
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { limits } from '../config.ts';
import { startTestGateway, type TestGateway } from '../testing.ts';

/** Longer than the usual hidden limits of 5 s. */
const SILENCE_MS = 6_000;

let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startTestGateway();
});

afterAll(async () => {
  await gateway.stop();
});

test.concurrent.each([
  ['a stream before its first content', true, 0],
  ['a stream in its midst', true, 3],
  ['a whole answer', false, 0],
] as const)('I24 %s may be silent for longer than the usual hidden limits', async (_, stream, afterTokens) => {
  gateway.simulators[0]?.faults.set({ fault: 'stall', afterTokens, ms: SILENCE_MS, count: 1 });
  const messages = [{ role: 'user', content: 'Hello' }];
  const response = await gateway.post('/v1/chat/completions', { model: 'tiny', messages, max_tokens: 8, stream });
  expect(await response.text()).toContain('"finish_reason":"length"');
  const id = response.headers.get('x-faregate-call');
  expect(await gateway.agent('GET', `/calls/${id}`)).toMatchObject({ outcome: 'complete', attempts: 1 });
});

/** Each limit of time that can end a call, as README calls it; and those that end none. */
const ENDING: Readonly<Record<string, string>> = {
  headMs: 'head {s} s',
  bodyMs: 'body {s} s',
  connectMs: 'connect {s} s',
  queueMs: 'wait for room at a worker {s} s',
  firstContentMs: 'first content {s} s',
  idleMs: 'idle {s} s',
  totalMs: 'total {s} s',
  drainMs: 'drain {s} s',
  rejoinMs: "a dropped call waits {s} s for a stock client's retry",
  replayMs: 'Answers are kept for replay for {min} minutes',
  paymentMs: 'A payment is waited for {s} s',
};
const ENDING_NONE = ['holdGraceMs', 'headWaitMs', 'keepAliveMs'];

test('I24 every limit of time of the gateway has a name and stands in README with its value', async () => {
  const readme = (await readFile(new URL('../../README.md', import.meta.url), 'utf8')).replaceAll(/\s+/g, ' ');
  const timed = Object.entries(limits).filter(([name]) => name.endsWith('Ms') && !ENDING_NONE.includes(name));
  for (const [name, ms] of timed) {
    const words = (ENDING[name] ?? `(${name} is not described)`)
      .replace('{s}', String(ms / 1_000))
      .replace('{min}', String(ms / 60_000));
    expect(readme).toContain(words);
  }
});
