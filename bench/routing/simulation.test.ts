import { expect, test } from 'vitest';
import { gates } from './gates.ts';
import { OURS, policies } from './policies.ts';
import { simulate } from './simulate.ts';
import { generate, type KindName, kinds } from './trace.ts';

const SECONDS = 400;

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
