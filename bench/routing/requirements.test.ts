/** What the research on routing asks of a router (§2.7, §7), shown with the product's own in simulated time. */
import { expect, test } from 'vitest';
import type { Fleet } from '../../router/fleet.ts';
import { type Need, pick } from '../../router/pick.ts';
import { anyPolicy, type Policy } from '../../router/policy.ts';
import type { Machine } from './engine.ts';
import { faregate, needOf } from './ours.ts';
import type { Build, World } from './policies.ts';
import { Chance } from './random.ts';
import { type Scene, simulate } from './simulate.ts';
import { BLOCK_TOKENS, generate, type TraceCall } from './trace.ts';

const machine: Machine = {
  prefillPerSecond: 12_000,
  stepMs: 14,
  perRunningMs: 0.35,
  slots: 256,
  cacheTokens: 3_000_000,
};
const sortedByTtft = { ...anyPolicy, sort: 'ttft' } as const;

interface Sent {
  readonly atMs: number;
  readonly site: number;
  readonly tokens: number;
}

/** A policy that also writes down where it sent each call. */
function noting(build: Build): { build: Build; sent: Sent[] } {
  const sent: Sent[] = [];
  const noted: Build = (world: World) => {
    const policy = build(world);
    return (call) => {
      const placed = policy(call);
      if (placed !== null) sent.push({ atMs: world.now(), site: placed.site.index, tokens: call.inputTokens });
      return placed;
    };
  };
  return { build: noted, sent };
}

/** Calls without common beginnings, as many a second as told. */
function plain(count: number, perSecond: number, inputTokens: number, outputTokens: number, seed = 1): TraceCall[] {
  const chance = new Chance(seed);
  let atMs = 0;
  return Array.from({ length: count }, (_, index) => {
    atMs += chance.exponential(1_000 / perSecond);
    const keys = Int32Array.from({ length: Math.floor(inputTokens / BLOCK_TOKENS) }, (_, at) =>
      Math.imul(index * 4_096 + at + 1, 0x9e3779b1),
    );
    return { atMs, inputTokens, outputTokens, keys };
  });
}

function shareOf(sent: readonly Sent[], site: number): number {
  const all = sent.reduce((sum, { tokens }) => sum + tokens, 0);
  return sent.filter((one) => one.site === site).reduce((sum, { tokens }) => sum + tokens, 0) / all;
}

function run(build: Build, trace: readonly TraceCall[], scene: Scene = {}) {
  const noted = noting(build);
  const outcome = simulate(trace, noted.build, 1, scene);
  return { outcome, sent: noted.sent };
}

test('R1 of two equal workers at 20 and 200 ms the near one serves 99 % of short prompts while its queue is shorter than the way', () => {
  const workers = [20, 200].map((rttMs) => ({ rttMs, machine }));
  // 500 tokens take 42 ms: three in front of a prompt are still nearer than the far worker.
  const { sent } = run(faregate({ policy: sortedByTtft }), plain(2_000, 4, 500, 20), { workers });
  expect(sent.filter(({ site }) => site === 0).length / sent.length).toBeGreaterThanOrEqual(0.99);
});

test('R2 a worker four times slower than the usual gets its share of the prefill within a quarter of the best after fifty calls', () => {
  const workers = [1, 4].map((times) => ({
    rttMs: 10,
    machine: { ...machine, prefillPerSecond: machine.prefillPerSecond / times },
  }));
  // As many as both together can just do: 15,000 tokens a second.
  const { sent } = run(faregate({ policy: sortedByTtft }), plain(600, 3.6, 4_000, 2), { workers });
  const share = shareOf(sent.slice(50), 1);
  expect(share).toBeGreaterThan(0.75 * 0.2);
  expect(share).toBeLessThan(1.25 * 0.2);
});

test('R4 fifty turns of a conversation stay on one worker to 90 % when unloaded, and no worker has 1.5 × the mean when busy', () => {
  const workers = Array.from({ length: 4 }, () => ({ rttMs: 10, machine }));
  const talk = (who: number, everyMs: number): TraceCall[] =>
    Array.from({ length: 50 }, (_, turn) => {
      const inputTokens = 8_000 + turn * 500;
      const keys = Int32Array.from({ length: Math.floor(inputTokens / BLOCK_TOKENS) }, (_, at) =>
        at < 16 ? at + 1 : Math.imul(who * 4_096 + at, 0x9e3779b1),
      );
      return { atMs: turn * everyMs + who * 37, inputTokens, outputTokens: 100, keys };
    });
  const alone = run(faregate({}), talk(1, 5_000), { workers }).sent;
  const home = alone[0]?.site;
  expect(alone.filter(({ site }) => site === home).length).toBeGreaterThanOrEqual(45);
  const many = Array.from({ length: 120 }, (_, who) => talk(who, 6_000))
    .flat()
    .sort((a, b) => a.atMs - b.atMs);
  const { sent } = run(faregate({}), many, { workers });
  for (const site of [0, 1, 2, 3]) expect(shareOf(sent, site)).toBeLessThan(1.5 / 4);
});

test('R5 a hundred calls of one moment are spread by capacity: nobody has 1.3 × its share', () => {
  const { sent } = run(
    faregate({}),
    plain(100, 1, 800, 100).map((call) => ({ ...call, atMs: 0 })),
    { workers: Array.from({ length: 8 }, () => ({ rttMs: 10, machine })) },
  );
  for (let site = 0; site < 8; site++)
    expect(sent.filter((one) => one.site === site).length).toBeLessThanOrEqual((1.3 * 100) / 8);
});

test('I17 a gateway that forgot everything is back at nine tenths of its cache hits within a minute', () => {
  const trace = generate('agent loops', { seed: 1, load: 0.6, seconds: 600 });
  const restarts: Build = (world) => {
    let policy = faregate({})(world);
    world.later(300_000, () => {
      policy = faregate({})(world);
    });
    return (call) => policy(call);
  };
  const later = { from: 360_000, until: 600_000 };
  const kept = simulate(trace, faregate({}), 1, later).cachedShare;
  expect(simulate(trace, restarts, 1, later).cachedShare).toBeGreaterThan(0.9 * kept);
});

test.each([
  ['a first content within half a second', { ...anyPolicy, maxTtftMs: 500 }],
  ['nothing', anyPolicy],
])(
  'a pool that is too busy says when to come back, right within a quarter, to a caller who asks for %s',
  (_, policy) => {
    const ratios = Array.from({ length: 12 }, (__, seed) => foretold(seed + 1, policy)).flat();
    expect(ratios.length).toBeGreaterThanOrEqual(8);
    // Of twelve, one may be off: a long answer more or less.
    const right = ratios.filter((ratio) => Math.abs(ratio - 1) <= 0.25);
    expect(right.length / ratios.length).toBeGreaterThan(0.9);
  },
);

/** Fills a pool until it has a queue that stands, then asks nothing more: told and true time until a call would be let in, told ÷ true. */
function foretold(seed: number, policy: Policy): number[] {
  const workers = [20, 90].map((rttMs) => ({ rttMs, machine: { ...machine, slots: 16 } }));
  const trace = plain(60 + seed * 20, 15 + 2 * seed, 1_000, 150, seed);
  const last = trace.at(-1);
  const found: number[] = [];
  const watching: Build = (world) => {
    const fleets: Fleet[] = [];
    const place = faregate({ onFleet: (fleet) => fleets.push(fleet) })(world);
    return (call) => {
      const placed = place(call);
      const [fleet] = fleets;
      const need = { ...needOf(call, 150), policy };
      if (call === last && fleet !== undefined) watch(fleet, need, world, (ratio) => found.push(ratio));
      return placed;
    };
  };
  simulate(trace, watching, seed, { workers });
  return found;
}

const LOOK_MS = 10;

function watch(fleet: Fleet, need: Need, world: World, tell: (ratio: number) => void): void {
  const beganMs = world.now();
  const told = pick(fleet, need);
  if (told.kind === 'choice') {
    told.reservation.release(beganMs);
    return;
  }
  const look = () => {
    const again = pick(fleet, need);
    if (again.kind === 'refusal') {
      world.later(LOOK_MS, look);
      return;
    }
    again.reservation.release(world.now());
    tell((told.retryAfterMs ?? 0) / (world.now() - beganMs));
  };
  world.later(LOOK_MS, look);
}
