import { afterAll, beforeAll, expect, test } from 'vitest';
import { compareAnswers, differ } from './replay/compare.ts';
import { expectListed } from './replay/listed.ts';
import { compareMetrics } from './replay/metrics.ts';
import { asReceived, matches, readDifferences, recordedAt, recording, recordingNames } from './replay/recordings.ts';
import { REPLAYED_TOGETHER } from './replay/scenes.ts';
import { requestOf, SERVERS, serverFor } from './replay/servers.ts';
import { call } from './replay/wire.ts';
import { type Simulator, startSimulator } from './server.ts';

const simulators = new Map<string, Simulator>();

/** Recordings of one call each, in the order in which they were made: the prefix cache remembers. */
const singles = recordingNames
  .filter((name) => !name.startsWith('wire-') && !REPLAYED_TOGETHER.test(name))
  .toSorted((a, b) => recordedAt(a) - recordedAt(b) || (a < b ? -1 : 1));

beforeAll(async () => {
  for (const [name, options] of Object.entries(SERVERS)) {
    simulators.set(name, await startSimulator(options));
  }
});

afterAll(async () => {
  await Promise.all([...simulators.values()].map((simulator) => simulator.close()));
});

test.for(singles)('%s is answered as vLLM 0.32.0 answered it', async (name) => {
  const { request, response } = recording(name);
  const simulator = simulators.get(serverFor(name, request));
  const simulated = await call(simulator?.url ?? '', requestOf(name, request));
  const recorded = asReceived(response);
  if (request.path === '/metrics') {
    expectListed(name, [
      ...differ('status', recorded.status, simulated.status),
      ...compareMetrics(recorded.body, simulated.body),
    ]);
  } else {
    expectListed(name, compareAnswers(recorded, simulated));
  }
});

test('every listed difference is about some recording', () => {
  const idle = readDifferences().filter((difference) => !recordingNames.some((name) => matches(difference, name)));
  expect(idle).toEqual([]);
});
