/** The product's own router, the real one, as a policy of the simulation. */
import { Fleet } from '../../router/fleet.ts';
import { look, type Need, pick } from '../../router/pick.ts';
import { anyPolicy } from '../../router/policy.ts';
import type { Reservation } from '../../router/reservation.ts';
import { SharedLoad, TELL_MS } from '../../router/shared-load.ts';
import { SharedPrefixes } from '../../router/shared-prefixes.ts';
import type { Build, Site, World } from './policies.ts';
import { BLOCK_TOKENS, type TraceCall } from './trace.ts';

/**
 * The product's router on the simulation's clock. `selfish`: without its charge for the answers that a prompt delays. Calls come to any of
 * the `gateways`, which tell each other what they have running, or do not. `policy` is what every caller asks for.
 */
export function faregate({
  selfish = false,
  gateways = 1,
  share = true,
  policy = anyPolicy,
  onFleet = (_: Fleet) => {},
} = {}): Build {
  return (world) => {
    const siteOf = new Map(world.sites.map((site) => [recordOf(site).id, site]));
    const fleets = Array.from({ length: gateways }, () => fleetOf(world));
    for (const fleet of fleets) onFleet(fleet);
    if (gateways > 1 && share) shareLoad(fleets, world);
    let expected = FIRST_OUTPUT_TOKENS;
    return (call) => {
      const need = { ...needOf(call, expected), policy };
      const fleet = fleets[Math.floor(world.chance.next() * gateways)];
      if (fleet === undefined) return null;
      const reservation = selfish ? pickSelfish(fleet, need) : pickOurs(fleet, need);
      const site = siteOf.get(reservation?.worker.record.id ?? '');
      if (reservation === null || site === undefined) return null;
      return {
        site,
        predictedTtftMs: reservation.prediction.ttftMs,
        onFirst: (elapsedMs) => reservation.firstContent(elapsedMs, world.now()),
        onEnd: (elapsedMs, firstMs) => {
          reservation.answered({ tokens: call.outputTokens, elapsedMs, firstMs, cachedTokens: null }, world.now());
          reservation.release(world.now());
          expected += EXPECTED_WEIGHT * (call.outputTokens - expected);
        },
      };
    };
  };
}

function fleetOf(world: World): Fleet {
  const fleet = new Fleet({ now: world.now, random: world.chance.next });
  for (const site of world.sites) fleet.upsert(recordOf(site)).times.rttMs = site.rttMs;
  return fleet;
}

/** By the product's own messages, each told a moment later. */
function shareLoad(fleets: readonly Fleet[], world: World): void {
  const peers: (SharedLoad | SharedPrefixes)[] = fleets.flatMap((fleet, index) => {
    const publish = (message: string) =>
      world.later(MESSAGE_MS, () => {
        for (const peer of peers) peer.receive(message);
      });
    const options = { fleet, id: `gateway ${index}`, publish };
    return [new SharedLoad(options), new SharedPrefixes(options)];
  });
  world.every(TELL_MS, () => {
    for (const peer of peers) peer.tick();
  });
}

/** Between gateways on different continents. */
const MESSAGE_MS = 100;
const FIRST_OUTPUT_TOKENS = 128;
const EXPECTED_WEIGHT = 0.02;
const MODEL = 'model';
const TOKEN_BYTES = 4;
/** As the router has it for want of better knowledge. */
const FULL_CONTEXTS = 8;

function recordOf({ index, slots, engine }: Site) {
  const id = `w${index}`;
  const place = { country: 'NO', region: 'r', engineKey: null, state: 'active' } as const;
  const models = [{ id: MODEL, contextLength: engine.machine.cacheTokens / FULL_CONTEXTS }];
  return { id, operator: id, url: `http://${id}`, models, slots, ...place };
}

export function needOf({ inputTokens, keys }: TraceCall, outputTokens: number): Need {
  const ends = keys.map((_, index) => (index + 1) * BLOCK_TOKENS * TOKEN_BYTES);
  return {
    model: MODEL,
    tokensMax: inputTokens,
    promptTokens: inputTokens,
    outputTokens,
    sequences: 1,
    showsContent: true,
    prefix: { keys, ends, length: inputTokens * TOKEN_BYTES },
    policy: anyPolicy,
    exclude: new Set(),
  };
}

function pickOurs(fleet: Fleet, need: Need): Reservation | null {
  const choice = pick(fleet, need);
  return choice.kind === 'choice' ? choice.reservation : null;
}

function pickSelfish(fleet: Fleet, need: Need): Reservation | null {
  const candidates = [...look(fleet, need)].filter(({ refused }) => refused === null);
  const total = ({ prediction }: (typeof candidates)[number]) => prediction?.totalMs ?? Number.POSITIVE_INFINITY;
  const best = candidates.reduce<(typeof candidates)[number] | null>(
    (least, one) => (least === null || total(one) < total(least) ? one : least),
    null,
  );
  if (best === null || best.prediction === null) return null;
  const { worker, prediction, cachedTokens } = best;
  const { model, prefix: sent, showsContent, promptTokens, outputTokens, sequences } = need;
  const work = { uncachedTokens: promptTokens - cachedTokens, outputTokens, sequences };
  return worker.reserve({ model, work, prediction, cachedTokens, prefix: sent, showsContent }, fleet.now());
}
