/** What the bench has to know of another gateway. Nothing of theirs is here: only how it is installed, and how it is set up. */
import type { PeerRow } from '../workloads.ts';

export interface Peer {
  readonly name: string;
  /** The only version that is installed, and whose setup is known to be right. */
  readonly version: string;
  /** Where it lives in the folder of all peers. */
  readonly folder: string;
  /** Below its folder; it is installed when this is there. */
  readonly program: string;
  /** Commands, each begun in its folder; `source` is where its repository is cloned from, when it comes from no registry. */
  readonly install: { readonly files?: Files; readonly steps: readonly Step[]; readonly source?: Source };
  readonly setups: readonly Setup[];
}

/** Command and arguments. */
export type Step = readonly string[];

/** Contents by path. */
type Files = Readonly<Record<string, string>>;

interface Source {
  readonly repository: string;
  readonly tag: string;
}

/** One way to run it: the row of the table that this gives. */
export interface Setup {
  readonly row: PeerRow;
  run(place: Place): Run;
}

/** Where a peer is to run, and what before. */
export interface Place {
  readonly program: string;
  /** Empty, and its own: settings, state, and what it takes for home. */
  readonly directory: string;
  readonly port: number;
  readonly adminPort: number;
  /** Without a path. */
  readonly workerUrl: string;
}

export interface Run {
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Below its directory. */
  readonly files?: Files;
  readonly headers?: Readonly<Record<string, string>>;
  readonly keys?: readonly string[];
  /** Makes a key once it runs. */
  mintKey?(): Promise<string>;
}

/** One row of a run. */
export function setup(row: PeerRow, run: (place: Place) => Run): Setup {
  return { row, run };
}
