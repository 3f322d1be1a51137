import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { Simulator } from '../../workers/simulator/server.ts';
import { startTestGateway, type TestGateway } from '../testing.ts';

const FAR_MS = 60;

let gateway: TestGateway;
let near: Simulator;

beforeAll(async () => {
  gateway = await startTestGateway({
    simulators: [{ rttMs: 1 }, { rttMs: FAR_MS }],
    config: { hedge: true },
    limits: { firstContentMs: 10_000 },
  });
  const { fleet, hedges } = gateway.running.gateway.router;
  for (let call = 0; call < 200; call += 1) hedges?.earn(1_000);
  await vi.waitUntil(() => (fleet.get(gateway.workerIds[1] ?? '')?.times.rttMs ?? 0) > FAR_MS / 2, { timeout: 10_000 });
  const [first] = gateway.simulators;
  if (first === undefined) throw new Error('no simulator');
  near = first;
});

afterAll(async () => {
  await gateway.stop();
});

test('where the host wants hedges, a late worker’s call is answered by another, charged once, and the late one is paid nothing', async () => {
  const messages = [{ role: 'user', content: 'Say something.' }];
  const ask = () => gateway.post('/v1/chat/completions', { model: 'tiny', messages, max_tokens: 12, stream: true });
  const before = await gateway.agent('GET', '/account');
  near.faults.set({ fault: 'silent', count: 1, afterTokens: 0 });
  const response = await ask();
  expect(await response.text()).toContain('"finish_reason":"');
  expect(near.faults.rules).toEqual([]);
  const call = await gateway.agent('GET', `/calls/${response.headers.get('x-faregate-call')}`);
  expect(call).toMatchObject({ outcome: 'complete', worker: gateway.workerIds[1], attempts: 2 });
  expect(call.routing).toHaveLength(2);
  const after = await gateway.agent('GET', '/account');
  expect(BigInt(String(before.balance_nanousd)) - BigInt(String(after.balance_nanousd))).toBe(
    BigInt(String(call.charged_nanousd)),
  );
  expect(after.held_nanousd).toBe('0');
  const counts = gateway.running.gateway.router.fleet.all().map(({ inFlight, waiting }) => [inFlight, waiting]);
  expect(counts).toEqual([
    [0, 0],
    [0, 0],
  ]);
  expect(gateway.running.gateway.router.fleet.get(gateway.workerIds[0] ?? '')?.lastError).toBe(null);
});
