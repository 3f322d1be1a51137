import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { FaultRule } from '../../workers/simulator/faults.ts';
import type { Simulator } from '../../workers/simulator/server.ts';
import { startTestGateway, type TestGateway } from '../testing.ts';

const messages = [{ role: 'user', content: 'Say something.' }];
const FIRST_CONTENT_MS = 1_500;
const IDLE_MS = 1_500;

let gateway: TestGateway;
let near: Simulator;

beforeAll(async () => {
  // The near worker is asked first: the far one answers much later.
  const simulators = [{ rttMs: 0 }, { rttMs: 400 }];
  gateway = await startTestGateway({ simulators, limits: { firstContentMs: FIRST_CONTENT_MS, idleMs: IDLE_MS } });
  const [first] = gateway.simulators;
  if (first === undefined) throw new Error('no simulator');
  near = first;
});

afterAll(async () => {
  await gateway.stop();
});

interface Answer {
  readonly status: number;
  readonly id: string;
  readonly attempts: number;
  readonly text: string;
}

async function ask(stream: boolean): Promise<Answer> {
  const response = await gateway.post('/v1/chat/completions', { model: 'tiny', messages, max_tokens: 12, stream });
  return {
    status: response.status,
    id: String(response.headers.get('x-faregate-call')),
    attempts: Number(response.headers.get('x-faregate-attempts')),
    text: await response.text(),
  };
}

/** Makes the near worker a stranger with a good first impression, so that the next case meets it first again. */
function rehabilitate(): void {
  near.faults.clear();
  const { fleet } = gateway.running.gateway.router;
  const worker = fleet.get(gateway.workerIds[0] ?? '');
  if (worker === undefined) throw new Error('the near worker is gone');
  fleet.remove(worker.record.id);
  const fresh = fleet.upsert({ ...worker.record, state: 'active' });
  fresh.times.rttMs = 0;
  // Else the prober would check it, and take the fault that is meant for the next call.
  for (const [model, kind] of worker.kinds) fresh.kinds.set(model, kind);
  fresh.lastGoodAtMs = fleet.now();
}

async function record(id: string): Promise<Record<string, unknown>> {
  const call = await gateway.agent('GET', `/calls/${id}`);
  expect(call.status).toBe('closed');
  return call;
}

const beforeContent: FaultRule[] = [
  { fault: 'fail-fast' },
  { fault: 'queue-full' },
  { fault: 'queue-full-late' },
  { fault: 'status', status: 500 },
  { fault: 'status', status: 429 },
  { fault: 'engine-error', afterTokens: 0 },
  { fault: 'abort-queued' },
  { fault: 'abort-running', afterTokens: 0 },
  { fault: 'cut', afterTokens: 0 },
  { fault: 'reset', afterTokens: 0 },
  { fault: 'wrong-model' },
  { fault: 'bare-done' },
  { fault: 'empty' },
  { fault: 'garbage', afterTokens: 0 },
];

describe('a worker that fails before its first content', () => {
  for (const rule of [...beforeContent, { fault: 'silent', afterTokens: 0 } as const]) {
    for (const stream of [true, false]) {
      // A silent whole answer is bounded by the total time alone: nothing tells it from a long one.
      if (rule.fault === 'silent' && !stream) continue;
      const name = 'status' in rule ? `${rule.fault} ${rule.status}` : rule.fault;
      test(`${name}, ${stream ? 'streamed' : 'whole'}: the caller notices nothing but time, and pays once`, async () => {
        rehabilitate();
        near.faults.set({ ...rule, count: 1 });
        const answer = await ask(stream);
        expect(answer.status, answer.text).toBe(200);
        expect(answer.text).toContain('"finish_reason":"');
        expect(near.faults.rules).toEqual([]);
        expect(answer.attempts).toBe(2);
        expect(await record(answer.id)).toMatchObject({
          outcome: 'complete',
          worker: gateway.workerIds[1],
          attempts: 2,
        });
      });
    }
  }
});

describe('a worker that fails after its first content', () => {
  const afterContent: FaultRule[] = [
    { fault: 'engine-error', afterTokens: 3 },
    { fault: 'abort-running', afterTokens: 3 },
    { fault: 'cut', afterTokens: 3 },
    { fault: 'reset', afterTokens: 3 },
    { fault: 'silent', afterTokens: 3 },
    { fault: 'no-finish' },
  ];
  for (const rule of afterContent) {
    test(`${rule.fault}: an error in the stream, no invented finish, and what was delivered is charged and paid`, async () => {
      rehabilitate();
      near.faults.set({ ...rule, count: 1 });
      const answer = await ask(true);
      expect(answer.status).toBe(200);
      expect(answer.text).toContain('"code":"worker_failed"');
      expect(answer.text.endsWith('data: [DONE]\n\n')).toBe(true);
      if (rule.fault !== 'no-finish') expect(answer.text).not.toMatch(/"finish_reason":"/);
      const call = await record(answer.id);
      expect(call).toMatchObject({ outcome: 'failed', worker: gateway.workerIds[0], attempts: 1 });
      expect((call.usage as { completion_tokens: number }).completion_tokens).toBeGreaterThan(0);
      expect(BigInt(String(call.charged_nanousd))).toBeGreaterThan(0n);
      expect(BigInt(String(call.operator_nanousd))).toBeGreaterThan(0n);
    });
  }
});

test('a whole answer with an abort that nobody asked for costs nothing where no other worker is left', async () => {
  rehabilitate();
  for (const simulator of gateway.simulators) simulator.faults.set({ fault: 'abort-running', count: 3 });
  const answer = await ask(false);
  expect(answer.status).toBe(502);
  for (const simulator of gateway.simulators) simulator.faults.clear();
  const { data } = await gateway.agent('GET', '/calls?limit=1');
  expect((data as object[])[0]).toMatchObject({ outcome: 'failed', charged_nanousd: '0' });
});

test('all counters are back at zero', async () => {
  const { data } = await gateway.admin('GET', '/workers');
  expect((data as { in_flight: number }[]).map((worker) => worker.in_flight)).toEqual([0, 0]);
  expect(await gateway.agent('GET', '/account')).toMatchObject({ held_nanousd: '0' });
});
