/** What goes wrong, attack by attack: kills (R1), the database (R3), the network (R4). */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pickOne, type Random, randomInteger } from '../../workers/simulator/random.ts';
import type { Chaos } from './attack.ts';
import { processFailpoints } from './gateway-process.ts';
import type { NetworkFault } from './proxy.ts';
import type { Site } from './site.ts';

/** Calls that go well before and after. */
const WARM_MS = 2_000;
/** A failpoint strikes at one of its first passages. */
const PASSAGES_MAX = 60;

/** Kills at random moments, at the failpoints inside the process, and as money statements leave or are committed. */
export function kills(random: Random, wanted: number): Chaos {
  return async (site) => {
    site.arm = () => failpoint(random);
    const before = killsOf(site);
    for (const { proxy } of site.gateways) {
      proxy.tamper = () => (random() < 0.01 ? pickOne(random, ['kill before', 'kill after'] as const) : null);
    }
    while (killsOf(site) - before < wanted) {
      await sleep(randomInteger(random, 200, 1_200));
      pickOne(random, site.gateways).kill();
    }
  };
}

/** One gateway in three is to die at a moment of the proxy's or the harness's choice. */
function failpoint(random: Random): Record<string, string> {
  const name = processFailpoints[Math.floor(random() * processFailpoints.length * 1.5)];
  return name === undefined ? {} : { FAULTS_KILL_AT: `${name}:${randomInteger(random, 1, PASSAGES_MAX)}` };
}

/** An administrator ends all sessions four times a second; every 7 s a server process dies and the server recovers. */
export function databaseCrashes(ms: number): Chaos {
  return async ({ cluster }) => {
    await sleep(WARM_MS);
    const endMs = performance.now() + ms;
    for (let crashAtMs = performance.now() + 3_500; performance.now() < endMs; await sleep(250)) {
      if (performance.now() > crashAtMs) {
        crashAtMs += 7_000;
        await cluster.crash().catch(() => {});
      } else await cluster.terminateAll().catch(() => {});
    }
  };
}

/** The server stands still: connections stay, nothing answers. */
export function databaseFreeze(ms: number): Chaos {
  return async ({ cluster }) => {
    await sleep(WARM_MS);
    await cluster.whileFrozen(() => sleep(ms));
    await sleep(WARM_MS);
  };
}

/** The server has no space left for anything that moves money. */
export function databaseFull(ms: number): Chaos {
  return async ({ gateways }) => {
    await sleep(WARM_MS);
    for (const { proxy } of gateways) proxy.tamper = () => 'disk full';
    await sleep(ms);
  };
}

/** Each with its weight: those that block a gateway for long are rare. */
const networkFaults: readonly NetworkFault[] = [
  ...Array<NetworkFault>(12).fill('cut before'),
  ...Array<NetworkFault>(24).fill('cut after'),
  ...Array<NetworkFault>(12).fill('reset'),
  'stall',
  'half-open',
  'slow',
];

/** Money statements meet the faults of a bad network until so many were committed without an answer. */
export function badNetwork(random: Random, ambiguousWanted: number): Chaos {
  return async ({ gateways }) => {
    for (const { proxy } of gateways) proxy.tamper = () => (random() < 0.3 ? pickOne(random, networkFaults) : null);
    const ambiguous = () => gateways.reduce((sum, { proxy }) => sum + (proxy.struck.get('cut after') ?? 0), 0);
    for (const before = ambiguous(); ambiguous() - before < ambiguousWanted; ) await sleep(100);
  };
}

function killsOf(site: Site): number {
  return site.gateways.reduce((sum, { kills: count }) => sum + count, 0);
}

/**
 * The journal's disk fails under every gateway. Notes how long each of them took to say that it is not ready; then all are
 * killed, so that only what was safe elsewhere can be found.
 */
export function journalDisk(code: 'ENOSPC' | 'EIO' | 'EROFS', unreadyMs: number[]): Chaos {
  return async (site) => {
    const marker = join(site.home, `disk-${code}`);
    site.arm = () => ({ FAULTS_DISK: `${code}:${marker}` });
    for (const gateway of site.gateways) await gateway.restart();
    await sleep(1_000);
    const failedMs = performance.now();
    await writeFile(marker, '');
    await Promise.all(
      site.gateways.map(async ({ url }) => {
        while (url !== null && (await fetch(`${url}/readyz`)).ok) await sleep(20);
        unreadyMs.push(performance.now() - failedMs);
      }),
    );
    await sleep(1_000);
  };
}
