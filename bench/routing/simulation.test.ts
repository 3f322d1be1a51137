import { expect, test } from 'vitest';
import { gates } from './gates.ts';
import { fourGateways, OURS, policies } from './policies.ts';
import { simulate } from './simulate.ts';
import { generate, type KindName, kinds } from './trace.ts';

const SECONDS = 900;

function outcomesOf(kind: KindName, seed: number, load = 1) {
  const trace = generate(kind, { seed, load, seconds: SECONDS });
  return new Map(Object.entries(policies).map(([name, build]) => [name, simulate(trace, build, seed)]));
}

test.each(Object.keys(kinds).flatMap((kind) => [1, 2, 3].map((seed) => [kind as KindName, seed] as const)))(
  'no other way to route serves more %s calls in time, seed %i',
  (kind, seed) => {
    const missed = gates(kind, outcomesOf(kind, seed)).filter(({ isMet }) => !isMet);
    expect(missed).toEqual([]);
  },
);

test.each([1, 2, 3])('I25 four gateways that tell each other what runs are nearly as good as one, seed %i', (seed) => {
  const [one, four, silent] = [policies[OURS], fourGateways.telling, fourGateways.silent];
  if (one === undefined) throw new Error('we are missing');
  const trace = generate('long chat', { seed, load: 1, seconds: SECONDS });
  const [alone, together, apart] = [one, four, silent].map((build) => simulate(trace, build, seed).goodput);
  expect(together).toBeGreaterThan((alone ?? 1) - 0.06);
  expect(together).toBeGreaterThan(apart ?? 1);
});

test('every call of a run ends, and the same seed gives the same run', () => {
  const trace = generate('agent loops', { seed: 7, load: 1.3, seconds: 120 });
  const build = policies[OURS];
  if (build === undefined) throw new Error('we are missing');
  const first = simulate(trace, build, 7);
  expect(first.shed).toBe(0);
  expect(simulate(trace, build, 7)).toEqual(first);
});

test('R3 a near worker that becomes five times slower is avoided within a minute, and used again when it is mended', () => {
  const build = policies[OURS];
  if (build === undefined) throw new Error('we are missing');
  const trace = generate('chat', { seed: 3, load: 0.6, seconds: 600 });
  const slow = { index: 0, fromMs: 200_000, untilMs: 400_000, times: 5 };
  const p99 = (fromS: number, untilS: number) =>
    simulate(trace, build, 3, { slow, from: fromS * 1_000, until: untilS * 1_000 }).ttftP99Ms;
  const before = p99(100, 200);
  expect(p99(200, 260)).toBeLessThan(3 * before);
  expect(p99(260, 400)).toBeLessThan(1.5 * before);
  expect(p99(520, 600)).toBeLessThan(1.3 * before);
});
