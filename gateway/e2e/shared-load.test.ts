import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readConfig } from '../config.ts';
import { type RunningGateway, startGateway } from '../node.ts';
import { startTestGateway, type TestGateway } from '../testing.ts';

let first: TestGateway;
let second: RunningGateway;
let dataDir: string;

beforeAll(async () => {
  first = await startTestGateway();
  dataDir = await mkdtemp(join(tmpdir(), 'faregate-second-'));
  second = await startGateway(
    readConfig({
      FAREGATE_PORT: '0',
      FAREGATE_DATA_DIR: dataDir,
      FAREGATE_LOG: 'silent',
      DATABASE_URL: first.database.url,
      FAREGATE_ALLOW_PRIVATE_WORKERS: '1',
    }),
  );
});

afterAll(async () => {
  await second.stop(AbortSignal.abort());
  await first.stop();
  await rm(dataDir, { recursive: true, force: true });
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
