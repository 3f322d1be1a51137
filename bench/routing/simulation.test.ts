import { expect, test } from 'vitest';
import { gates } from './gates.ts';
import { type Build, FOUR, fourGateways, OURS, policies } from './policies.ts';
import { simulate } from './simulate.ts';
import { generate, type KindName, kinds } from './trace.ts';

const SECONDS = 900;
const never: Build = () => () => null;

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

test.each(Object.keys(kinds) as KindName[])(
  'I25 four gateways that tell each other what runs are nearly as good as one, and better than four that do not: %s',
  (kind) => {
    const goodput = (build: Build | undefined, seed: number) =>
      simulate(generate(kind, { seed, load: 1, seconds: SECONDS / 3 }), build ?? never, seed).goodput;
    let gain = 0;
    for (const seed of [1, 2, 3]) {
      const together = goodput(fourGateways[FOUR], seed);
      expect(together).toBeGreaterThan(goodput(policies[OURS], seed) - 0.06);
      gain += together - goodput(fourGateways['four, silent'], seed);
    }
    expect(gain).toBeGreaterThan(-0.005);
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
