/** Ways to choose a worker, behind one interface: what other routers do, and the product's own. */
import { anyPolicy } from '../../router/policy.ts';
import type { Engine } from './engine.ts';
import { faregate } from './ours.ts';
import type { Chance } from './random.ts';
import type { TraceCall } from './trace.ts';

/** A worker as a policy may know it; `engine` only for those that cheat. */
export interface Site {
  readonly index: number;
  readonly rttMs: number;
  readonly slots: number;
  readonly engine: Engine;
}

/** A call that was placed; the simulation tells how it goes. Times since dispatch, in milliseconds. */
interface Placed {
  readonly site: Site;
  readonly predictedTtftMs?: number;
  onFirst(elapsedMs: number): void;
  onEnd(elapsedMs: number, firstMs: number): void;
}

/** Null: the call is shed. */
export type Policy = (call: TraceCall) => Placed | null;
export interface World {
  readonly sites: readonly Site[];
  readonly chance: Chance;
  readonly now: () => number;
  later(ms: number, act: () => void): void;
  /** As long as calls come. */
  every(ms: number, act: () => void): void;
}
export type Build = (world: World) => Policy;

/** What a gateway counts itself. */
class Counts {
  readonly inFlight: number[];
  readonly blocks: number[];
  readonly prefix: Set<number>[];

  constructor({ sites }: World) {
    this.inFlight = sites.map(() => 0);
    this.blocks = sites.map(() => 0);
    this.prefix = sites.map(() => new Set<number>());
  }

  of(list: readonly number[], site: Site): number {
    return list[site.index] ?? 0;
  }

  knownBlocks({ index }: Site, keys: Int32Array): number {
    const known = this.prefix[index];
    let blocks = 0;
    while (blocks < keys.length && known?.has(keys[blocks] ?? 0)) blocks++;
    return blocks;
  }

  place(site: Site, call: TraceCall, more: Partial<Placed> = {}): Placed {
    const missing = call.keys.length - this.knownBlocks(site, call.keys);
    for (const key of call.keys) this.prefix[site.index]?.add(key);
    this.#add(this.inFlight, site, 1);
    this.#add(this.blocks, site, missing);
    return {
      site,
      onFirst: (elapsedMs) => {
        this.#add(this.blocks, site, -missing);
        more.onFirst?.(elapsedMs);
      },
      onEnd: (elapsedMs, firstMs) => {
        this.#add(this.inFlight, site, -1);
        more.onEnd?.(elapsedMs, firstMs);
      },
    };
  }

  #add(list: number[], { index }: Site, by: number): void {
    list[index] = (list[index] ?? 0) + by;
  }
}

/** The site with the least of something; of equals any. */
function least(sites: readonly Site[], chance: Chance, of: (site: Site) => number): Site {
  let chosen: Site | undefined;
  let best = Number.POSITIVE_INFINITY;
  let equals = 0;
  for (const site of sites) {
    const value = of(site);
    if (value > best) continue;
    equals = value < best ? 1 : equals + 1;
    best = value;
    if (chance.next() * equals < 1) chosen = site;
  }
  if (chosen === undefined) throw new Error('there is no site');
  return chosen;
}

function two(sites: readonly Site[], chance: Chance): Site[] {
  const draw = () => sites[Math.floor(chance.next() * sites.length)];
  return [draw(), draw()].filter((site) => site !== undefined);
}

/** A policy that only needs the counts and a value to make least. */
function byLeast(value: (counts: Counts, site: Site, call: TraceCall, world: World) => number): Build {
  return (world) => {
    const counts = new Counts(world);
    return (call) => {
      const site = least(world.sites, world.chance, (one) => value(counts, one, call, world));
      return counts.place(site, call);
    };
  };
}

const roundRobin: Build = (world) => {
  const counts = new Counts(world);
  let next = 0;
  return (call) => {
    const site = world.sites[next++ % world.sites.length];
    return site === undefined ? null : counts.place(site, call);
  };
};

const twoChoices: Build = (world) => {
  const counts = new Counts(world);
  return (call) => {
    const site = least(two(world.sites, world.chance), world.chance, (one) => counts.of(counts.inFlight, one));
    return counts.place(site, call);
  };
};

/** Finagle's and tower's: a latency that jumps up and decays, times the calls there; of two at random. */
const PEAK_DECAY_MS = 10_000;
const peakEwma: Build = (world) => {
  const counts = new Counts(world);
  const seen = world.sites.map(({ rttMs }) => ({ ms: rttMs, atMs: 0 }));
  const note = (site: Site, elapsedMs: number) => {
    const one = seen[site.index];
    if (one === undefined) return;
    const kept = Math.exp(-(world.now() - one.atMs) / PEAK_DECAY_MS);
    one.ms = elapsedMs > one.ms ? elapsedMs : one.ms * kept + elapsedMs * (1 - kept);
    one.atMs = world.now();
  };
  return (call) => {
    const cost = (site: Site) => (seen[site.index]?.ms ?? 0) * (counts.of(counts.inFlight, site) + 1);
    const site = least(two(world.sites, world.chance), world.chance, cost);
    return counts.place(site, call, { onFirst: (elapsedMs) => note(site, elapsedMs) });
  };
};

/** By what the engines reported up to five seconds ago. */
const SCRAPE_MS = 5_000;
const scraped: Build = (world) => {
  const counts = new Counts(world);
  let scrape: number[] = [];
  let atMs = Number.NEGATIVE_INFINITY;
  return (call) => {
    if (world.now() - atMs >= SCRAPE_MS) {
      scrape = world.sites.map(({ engine }) => engine.running + engine.waiting);
      atMs = world.now();
    }
    return counts.place(
      least(world.sites, world.chance, ({ index }) => scrape[index] ?? 0),
      call,
    );
  };
};

/** The longest known beginning; `bound`: only of those with no more than so many times the mean load. */
function prefix(bound: number): Build {
  return (world) => {
    const counts = new Counts(world);
    return (call) => {
      const mean = (counts.inFlight.reduce((sum, calls) => sum + calls, 0) + 1) / world.sites.length;
      const allowed = world.sites.filter((site) => counts.of(counts.inFlight, site) + 1 <= Math.max(1, bound * mean));
      const score = (site: Site) => -counts.knownBlocks(site, call.keys) * 1e6 + counts.of(counts.inFlight, site);
      return counts.place(least(allowed.length > 0 ? allowed : world.sites, world.chance, score), call);
    };
  };
}

/** Dynamo's way: blocks still to be computed, and a weight for each call there. */
const BLOCKS_PER_CALL = 4;
const blockCost = byLeast(
  (counts, site, { keys }) =>
    counts.of(counts.blocks, site) +
    keys.length -
    counts.knownBlocks(site, keys) +
    BLOCKS_PER_CALL * counts.of(counts.inFlight, site),
);

/** What an all-knowing but short-sighted chooser would do: the true state and the true speeds. */
const trueState = byLeast((_, { rttMs, engine }, { keys, inputTokens, outputTokens }) => {
  const { prefillPerSecond, stepMs, perRunningMs, slots } = engine.machine;
  const uncached = engine.prefillTokens + inputTokens - engine.cachedTokens(keys);
  const running = engine.running + engine.waiting;
  const tokenMs = stepMs + perRunningMs * (Math.min(running, slots) + 1);
  const queued = Math.max(0, running + 1 - slots);
  const slotWaitMs = (queued * outputTokens * tokenMs) / slots;
  return rttMs + engine.slowness * ((1_000 * uncached) / prefillPerSecond + outputTokens * tokenMs + slotWaitMs);
});

export const OURS = 'faregate';
/** The same for callers that rather hear at once that there is no room than wait. */
export const ASKING = 'max_ttft_ms';
const ASKED_TTFT_MS = 1_800;

export const policies: Readonly<Record<string, Build>> = {
  random: byLeast(() => 0),
  'round robin': roundRobin,
  'nearest region': byLeast((_, { rttMs }) => rttMs),
  'least in flight': byLeast((counts, site) => counts.of(counts.inFlight, site)),
  'two choices': twoChoices,
  'peak EWMA': peakEwma,
  'scrape of 5 s': scraped,
  'prefix only': prefix(Number.POSITIVE_INFINITY),
  'bounded prefix': prefix(1.25),
  'block cost': blockCost,
  'true state': trueState,
  selfish: faregate({ selfish: true }),
  [OURS]: faregate({}),
  [ASKING]: faregate({ policy: { ...anyPolicy, maxTtftMs: ASKED_TTFT_MS } }),
};

/** The product behind four doors: no other way to route, but the same with less knowledge. */
export const FOUR = 'four gateways';
export const fourGateways: Readonly<Record<string, Build>> = {
  [FOUR]: faregate({ gateways: 4 }),
  'four, silent': faregate({ gateways: 4, share: false }),
};
