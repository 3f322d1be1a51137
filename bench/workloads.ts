/** What is measured, and on which rows: each row adds a part of the product's work to the one before. */
import { models, STREAM_FRAMES } from './answers.ts';
import type { Job } from './job.ts';

const rows = ['direct', 'floor', 'pass-through', '+ auth, limits', '+ hold, settle', '+ receipts'] as const;
/** Another gateway, as bench/peers/ sets it up. */
export type PeerRow = `vs ${string}`;
export type Row = (typeof rows)[number] | PeerRow;

export function isPeer(row: Row): row is PeerRow {
  return row.startsWith('vs ');
}

/** The product as it is. */
export const PRODUCT: Row = '+ hold, settle';

/** The workload by which other gateways are compared. */
export const PEERS_SMALL = 'peers, small';

export interface Workload {
  readonly name: string;
  readonly rows: readonly Row[];
  readonly body: string;
  readonly stream: boolean;
  readonly connections: number;
  /** An open loop at this share of what the slowest of its rows can do; null: a closed loop. */
  readonly share: number | null;
  readonly abortShare: number;
  /** How many times as long as others it runs: what takes long comes seldom, and its percentiles need as many calls. */
  readonly runTimes: number;
  /** Its runs are cut into so many rounds, so that the rows of each are nearer to each other in time. */
  readonly parts: number;
  /** CPU is told per unit: a call, or a frame of a stream; null where calls end unequally. */
  readonly unitsPerCall: number | null;
}

const TEXT = 'Say sixty-four words, whichever you like. ';
const SMALL_REPEATS = 4;
/** About four characters to a token. */
const LONG_REPEATS = Math.round((32_768 * 4) / TEXT.length);
/** Even over one connection the calls must not queue: there the wait for the answer is the limit, not the CPU. */
const OPEN_SHARE = 0.4;
const SINGLE_SHARE = 0.04;
const PACED_WARM_MS = 500;

const ends = ['direct', 'floor', PRODUCT] as const;
const closed = { stream: false, share: null, abortShare: 0, runTimes: 1, parts: 1, unitsPerCall: 1 } as const;
const streamed = { ...closed, stream: true, unitsPerCall: STREAM_FRAMES, rows: ends } as const;

const small: Workload = {
  ...closed,
  name: 'small',
  rows,
  body: body(models.fast, SMALL_REPEATS, false),
  connections: 32,
  parts: 3,
};
const backToBack: Workload = {
  ...streamed,
  name: 'stream, 0 ms',
  body: body(models.fast, SMALL_REPEATS, true),
  connections: 16,
};
const paced: Workload = {
  ...streamed,
  name: 'stream, 20 ms, 50',
  body: body(models.paced, SMALL_REPEATS, true),
  connections: 50,
  runTimes: 4,
};

export const quickWorkloads: readonly Workload[] = [small, backToBack, paced];

export const allWorkloads: readonly Workload[] = [
  small,
  ...[1, 10, 50, 200].map((connections) => ({
    ...small,
    name: `small, open, ${connections}`,
    rows: rows.slice(0, -1),
    connections,
    parts: 1,
    share: connections === 1 ? SINGLE_SHARE : OPEN_SHARE,
  })),
  { ...closed, name: '32k prompt', rows: ends, body: body(models.fast, LONG_REPEATS, false), connections: 8 },
  backToBack,
  paced,
  { ...paced, name: 'stream, 20 ms, 200', connections: 200 },
  { ...backToBack, name: 'stream, 10 % leave', rows: ['floor', PRODUCT], abortShare: 0.1, unitsPerCall: null },
];

/** Small calls at a pace, for benches that compare a thing or two of their own. */
export function pacedJob(
  how: Pick<Job, 'url' | 'keys' | 'connections' | 'runMs'> & { readonly perSecond: number },
): Job {
  const { body, stream, abortShare } = small;
  return { body, stream, abortShare, headers: {}, receipts: false, warmMs: PACED_WARM_MS, ...how };
}

/** For other gateways: one for whole answers, one for streams, few enough at a time for the slowest of them. */
export function peerWorkloads(peers: readonly PeerRow[]): readonly Workload[] {
  const compared = [...ends, ...peers];
  return [
    { ...small, name: PEERS_SMALL, rows: compared },
    { ...paced, name: 'peers, stream, 20 ms, 8', connections: 8, runTimes: 1, rows: compared },
  ];
}

function body(model: string, repeats: number, stream: boolean): string {
  const messages = [{ role: 'user', content: TEXT.repeat(repeats) }];
  return JSON.stringify({ model, messages, max_tokens: 64, ...(stream ? { stream } : {}) });
}
