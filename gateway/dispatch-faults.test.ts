/** Every fault that a vLLM server is known to have, streamed and whole, before and after the first content. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Dispatched, dispatch, type Router } from '../router/dispatch.ts';
import { CALL_FAULTS, type CallFault, type ServerFault } from '../workers/simulator/faults.ts';
import { type Simulator, startSimulator } from '../workers/simulator/server.ts';
import { inFlight, limits, need, readAll, routerOf } from './dispatch-testing.ts';

let faulty: Simulator;
let sound: Simulator;
let router: Router;
let reference: string;

/** Both servers say the same to the same question, so that a mixture of two answers would show. */
const fast = { seed: 7, decodeBaseMs: 1, decodePerRequestMs: 0 };

beforeAll(async () => {
  sound = await startSimulator(fast);
});

afterAll(() => sound.close());

beforeEach(async () => {
  faulty = await startSimulator(fast);
  router = routerOf([faulty.url, sound.url]);
  reference = said(await call(true, routerOf([sound.url])));
  return () => faulty.close();
});

interface Answer {
  readonly dispatched: Dispatched;
  readonly text: string;
  readonly outcome: string;
}

async function call(stream: boolean, through: Router = router): Promise<Answer> {
  const dispatched = await dispatch(through, {
    need,
    path: '/v1/chat/completions',
    body: JSON.stringify({
      model: 'tiny',
      messages: [{ role: 'user', content: 'Tell me about the sea.' }],
      max_tokens: 24,
      seed: 1,
      stream,
    }),
    stream,
    callId: 'call',
    signal: new AbortController().signal,
    limits: { ...limits, firstContentMs: stream ? 500 : 5000, idleMs: 500 },
  });
  if (dispatched.kind !== 'stream') return { dispatched, text: wholeText(dispatched), outcome: dispatched.kind };
  const { text, outcome } = await readAll(dispatched);
  return { dispatched, text: streamText(text), outcome: outcome.kind };
}

function streamText(text: string): string {
  const chunks = text.split('\n\n').filter((event) => event.startsWith('data: {'));
  return chunks.map((event) => JSON.parse(event.slice(6)).choices[0]?.delta.content ?? '').join('');
}

function wholeText(dispatched: Dispatched): string {
  if (dispatched.kind !== 'whole') return '';
  const choices = dispatched.answer.choices as { message: { content: string } }[];
  return choices[0]?.message.content ?? '';
}

function said({ text, outcome }: Answer): string {
  expect(outcome).toBe('complete');
  expect(text.length).toBeGreaterThan(20);
  return text;
}

/** Faults that leave the answer good: odd cuts, slowness, a wrong bill, and an answer that is empty in parts. */
const HARMLESS: readonly CallFault[] = ['split', 'slow-drip', 'fast-first-token', 'inflated-usage', 'empty-content'];
/** Silence on a whole call is bounded by the call's total time alone, which is not routing's. */
const ENDLESS_WHEN_WHOLE: readonly CallFault[] = ['silent', 'stall', 'slow-drip'];
const cases = CALL_FAULTS.flatMap((fault) => [0, 5].map((afterTokens) => ({ fault, afterTokens })));

test.each(cases)(
  'stream, $fault after $afterTokens tokens: one whole answer, or the true beginning of one',
  async ({ fault, afterTokens }) => {
    faulty.faults.set({ fault, count: 1, afterTokens, ms: fault === 'stall' ? 60_000 : 5 });
    const { dispatched, text, outcome } = await call(true);
    // The invented first word is content like any other: it cannot be told from a true one.
    const invented = fault === 'fast-first-token' ? 'Well' : '';
    if (outcome === 'complete') expect(text).toBe(invented + reference);
    else expect(reference.startsWith(text) && text !== '').toBe(true);
    if (dispatched.kind !== 'stream') throw new Error(`ended as ${outcome}`);
    const retried = dispatched.attempt.number === 2;
    if (HARMLESS.includes(fault)) expect({ outcome, retried }).toEqual({ outcome: 'complete', retried: false });
    else expect(outcome === 'complete').toBe(retried);
    expect(inFlight(router)).toEqual([0, 0]);
  },
);

test.each(CALL_FAULTS.filter((fault) => !ENDLESS_WHEN_WHOLE.includes(fault)))(
  'whole, %s: one whole answer, of another worker where the first failed',
  async (fault) => {
    faulty.faults.set({ fault, count: 1 });
    const { dispatched, text } = await call(false);
    expect(text).toBe(reference);
    if (dispatched.kind !== 'whole') throw new Error(`ended as ${dispatched.kind}`);
    expect(dispatched.attempt.number).toBe(HARMLESS.includes(fault) ? 1 : 2);
    expect(inFlight(router)).toEqual([0, 0]);
  },
);

const serverFaults: ServerFault[] = ['freeze', 'engine-dead', 'sigterm-abort', 'sigterm-silent', 'front-killed'];

test.each(serverFaults)(
  'a server under %s breaks its streams with a reason, and new calls go elsewhere',
  async (fault) => {
    const running = dispatchLong(fault);
    const { outcome, text } = await running;
    expect(outcome).toBe('broken');
    expect(text).not.toBe('');
    const next = await call(true);
    expect(next.text).toBe(reference);
    expect(inFlight(router)).toEqual([0, 0]);
  },
);

/** A stream that is under way at the faulty server when the fault strikes. */
async function dispatchLong(fault: ServerFault): Promise<{ outcome: string; text: string }> {
  const dispatched = await dispatch(router, {
    need,
    path: '/v1/chat/completions',
    body: JSON.stringify({
      model: 'tiny',
      messages: [{ role: 'user', content: 'Go on and on.' }],
      max_tokens: 4000,
      ignore_eos: true,
      stream: true,
    }),
    stream: true,
    callId: 'long',
    signal: new AbortController().signal,
    limits: { ...limits, idleMs: 500 },
  });
  setTimeout(() => faulty.faults.set({ fault }), 20);
  const { text, outcome } = await readAll(dispatched);
  return { outcome: outcome.kind, text: streamText(text) };
}
