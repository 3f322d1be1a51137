import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compareAnswers, type Mismatch } from './replay/compare.ts';
import { matches, readDifferences, recordedAt, recording, recordingNames } from './replay/recordings.ts';
import { asReceived } from './replay/recordings.ts';
import { requestOf, serverFor, SERVERS } from './replay/servers.ts';
import { call } from './replay/wire.ts';
import { type Simulator, startSimulator } from './server.ts';

const simulators = new Map<string, Simulator>();
const differences = readDifferences();

/** Recordings of one call each, in the order in which they were made: the prefix cache remembers. */
const names = recordingNames
  .filter((name) => !/^(wire|fault|abort|load-\d|metrics|dev-pause|dev-abort-requests-running|variant-keep-alive)/.test(name))
  .toSorted((a, b) => recordedAt(a) - recordedAt(b) || (a < b ? -1 : 1));

beforeAll(async () => {
  for (const [name, options] of Object.entries(SERVERS)) {
    simulators.set(name, await startSimulator(options));
  }
});

afterAll(async () => {
  await Promise.all([...simulators.values()].map((simulator) => simulator.close()));
});

describe('the simulator answers as vLLM 0.32.0 was recorded', () => {
  test.for(names)('%s', async (name) => {
    const { request, response } = recording(name);
    const simulator = simulators.get(serverFor(name, request));
    const simulated = await call(simulator?.url ?? '', requestOf(name, request));
    expectListed(name, compareAnswers(asReceived(response), simulated));
  });
});

/** What differs must be listed, and what is listed must differ. */
function expectListed(name: string, mismatches: readonly Mismatch[]): void {
  const listed = differences.filter((difference) => matches(difference, name)).map(({ what }) => what);
  if (listed.includes('all')) {
    expect(mismatches, 'listed as different, but it is not').not.toEqual([]);
    return;
  }
  expect(mismatches.filter(({ what }) => !listed.includes(what))).toEqual([]);
  expect(listed.filter((what) => !mismatches.some((mismatch) => mismatch.what === what))).toEqual([]);
}
