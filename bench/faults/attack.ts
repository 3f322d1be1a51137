/** One attack: callers call, readers read, something goes wrong; then all is healed, stopped and counted. */
import type { Random } from '../../workers/simulator/random.ts';
import { audit, isClean, type Verdict } from './audit.ts';
import { type Seen, startCallers } from './callers.ts';
import type { NetworkFault } from './proxy.ts';
import { type Readings, startReader } from './reader.ts';
import type { Site } from './site.ts';

export interface Outcome {
  readonly seen: Seen;
  readonly verdict: Verdict;
  readonly readings: Readings;
  readonly kills: number;
  /** How often each fault of the network struck. */
  readonly struck: ReadonlyMap<NetworkFault, number>;
  /** Gateways that ended by themselves, or did not end when they were told to, and unhandled errors: none is right. */
  readonly deaths: readonly string[];
  readonly clean: boolean;
}

/** What goes wrong meanwhile; resolves when enough has. */
export type Chaos = (site: Site, seen: Seen) => Promise<void>;

const CALLERS = 24;

export async function attack(site: Site, name: string, random: Random, chaos: Chaos): Promise<Outcome> {
  const { cluster, gateways, worker } = site;
  for (const gateway of gateways) await gateway.start();
  await site.fund(name);
  const killsBefore = killsOf(site);
  const struckBefore = struckOf(site);
  const stopReader = startReader(cluster.url, site.deposited);
  const urls = () => gateways.flatMap(({ url }) => (url === null ? [] : [url]));
  const callers = startCallers({ keys: site.agents, urls, random, callers: CALLERS });
  await chaos(site, callers.seen);
  await heal(site);
  const seen = await callers.stop();
  const ended = await stopAll(site);
  // What the database did not take in time is in the journals: the next start must settle it.
  for (const gateway of gateways) await gateway.start();
  ended.push(...(await stopAll(site)));
  const readings = await stopReader();
  const verdict = await audit(cluster.database.sql, { seen, sent: worker.sent, deposited: site.deposited });
  const deaths = [...gateways.flatMap((gateway) => gateway.deaths.splice(0)), ...ended.filter((end) => end !== 'well')];
  return {
    seen,
    verdict,
    readings,
    kills: killsOf(site) - killsBefore,
    struck: new Map([...struckOf(site)].map(([fault, count]) => [fault, count - (struckBefore.get(fault) ?? 0)])),
    deaths,
    clean: isClean(verdict) && deaths.length === 0 && readings.wrongTotals === 0 && readings.negatives === 0,
  };
}

/** Nothing goes wrong any more; what is still armed dies once and comes back sound. */
async function heal(site: Site): Promise<void> {
  for (const { proxy } of site.gateways) proxy.tamper = () => null;
  await site.cluster.up();
  if (site.arm !== null) {
    site.arm = null;
    for (const gateway of site.gateways) await gateway.restart();
  }
  for (const gateway of site.gateways) await gateway.ready();
}

/** How each of them ended: `well`, or what went wrong. */
function stopAll({ gateways }: Site): Promise<string[]> {
  return Promise.all(
    gateways.map(async (gateway) => ((await gateway.stop()) ? 'well' : `${gateway.name} did not end well`)),
  );
}

function killsOf(site: Site): number {
  return site.gateways.reduce((sum, { kills }) => sum + kills, 0);
}

function struckOf(site: Site): Map<NetworkFault, number> {
  const all = new Map<NetworkFault, number>();
  for (const { proxy } of site.gateways) {
    for (const [fault, count] of proxy.struck) all.set(fault, (all.get(fault) ?? 0) + count);
  }
  return all;
}
