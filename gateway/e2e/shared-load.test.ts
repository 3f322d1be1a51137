import { afterAll, beforeAll, expect, test } from 'vitest';
import type { RunningGateway } from '../node.ts';
import { startBeside, startTestGateway, type TestGateway } from '../testing.ts';

let first: TestGateway;
let second: RunningGateway;

beforeAll(async () => {
  first = await startTestGateway();
  second = await startBeside(first);
});

afterAll(async () => {
  await second.stop(AbortSignal.abort());
  await first.stop();
});

test('I25 a gateway knows what the others have running on a worker, and that it has ended', async () => {
  const elsewhere = () => second.gateway.router.fleet.get(first.workerIds[0] ?? '')?.elsewhere.inFlight;
  const control = new AbortController();
  const body = { model: 'tiny', messages: [{ role: 'user', content: 'Go on' }], max_tokens: 4_000, min_tokens: 4_000 };
  const response = await first.post('/v1/chat/completions', { ...body, stream: true }, { signal: control.signal });
  expect(response.status).toBe(200);
  await expect.poll(elsewhere, { timeout: 5_000 }).toBe(1);
  control.abort();
  await expect.poll(elsewhere, { timeout: 5_000 }).toBe(0);
});
