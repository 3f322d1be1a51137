/** The part of the bench that compares: starts what is installed, loads all in the same rounds as ours, and names what is left out. */
import { access, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Progress } from '../../workers/progress.ts';
import type { Bench, Plan, Result, Target } from '../measure.ts';
import { type PeerRow, peerWorkloads, type Row } from '../workloads.ts';
import type { Given } from './given.ts';
import type { Peer } from './peer.ts';
import { answers, startPeer } from './start.ts';

/** Where `npm run bench:peers -- install` puts them, unless told otherwise. Git ignores it. */
export const INSTALLED = '.peers';

export interface Compared {
  readonly results: readonly Result[];
  /** What was set up, with its version. */
  readonly versions: readonly string[];
  readonly leftOut: readonly string[];
}

export interface Asked {
  readonly peers: readonly Peer[];
  /** Of what is installed. */
  readonly folder: string;
  /** What runs already. */
  readonly given: readonly Given[];
  readonly workerUrl: string;
}

/** `ours` are the rows that they are compared with. No failure of a peer is a failure of the bench. */
export async function compare(
  bench: Pick<Bench, 'run' | 'lost'>,
  plan: Plan,
  ours: ReadonlyMap<Row, Target>,
  asked: Asked,
  progress: Progress,
): Promise<Compared> {
  const targets = new Map<PeerRow, Target>();
  const found: Found = { targets, versions: [], leftOut: [], stops: [] };
  const directory = await mkdtemp(join(tmpdir(), 'faregate-peers-'));
  try {
    progress.step('starting other gateways');
    for (const given of asked.given) await take(given, found);
    for (const peer of asked.peers) await startAll(peer, asked, directory, found);
    if (targets.size === 0) return { results: [], versions: [], leftOut: found.leftOut };
    const workloads = peerWorkloads([...targets.keys()]);
    const results = await bench.run({ ...plan, workloads }, new Map<Row, Target>([...ours, ...targets]));
    const lost = bench.lost.map(({ row, workload, why }) => `${row} in ${workload}: ${why}`);
    return { results, versions: found.versions, leftOut: [...found.leftOut, ...lost] };
  } finally {
    for (const stop of found.stops) await stop();
    await rm(directory, { recursive: true, force: true });
  }
}

interface Found {
  readonly targets: Map<PeerRow, Target>;
  readonly versions: string[];
  readonly leftOut: string[];
  readonly stops: (() => Promise<void>)[];
}

async function take({ row, target }: Given, { targets, leftOut }: Found): Promise<void> {
  await answers(target).then(
    () => targets.set(row, target),
    (error: unknown) => leftOut.push(`${row}: it does not answer: ${String(error)}`),
  );
}

async function startAll(peer: Peer, { folder, workerUrl }: Asked, directory: string, found: Found): Promise<void> {
  const program = resolve(folder, peer.folder, peer.program);
  if (!(await isThere(program))) return void found.leftOut.push(`${peer.name} ${peer.version}: not installed`);
  found.versions.push(`${peer.name} ${peer.version}`);
  for (const setup of peer.setups) {
    const own = join(directory, setup.row.replaceAll(/\W/g, '-'));
    try {
      const { target, stop } = await startPeer(setup, { program, directory: own, workerUrl });
      found.stops.push(stop);
      found.targets.set(setup.row, target);
    } catch (error) {
      found.leftOut.push(`${setup.row}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

async function isThere(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
