/** The results as a table for people, and which budgets of the design they meet. */
import { median, type Result, type Round } from './measure.ts';
import { type Bound, peerBounds } from './peers/bounds.ts';
import { isPeer, PEERS_SMALL, PRODUCT, type Row } from './workloads.ts';

const BYTES_PER_MB = 1_048_576;

interface Memory {
  readonly idleBytes: number;
  readonly peakBytes: number;
  readonly afterBytes: number;
}

export interface Summary {
  readonly results: readonly Result[];
  /** Of the gateway's process. */
  readonly memory: Memory;
  readonly coldStartMs: number;
  /** Other gateways: which were there, and which not. */
  readonly others: { readonly versions: readonly string[]; readonly leftOut: readonly string[] };
}

export type Budget = { readonly what: string; readonly is: number } & Bound;

const head = [
  '',
  '',
  'calls/s',
  'p50 ms',
  'p90 ms',
  'p99 ms',
  'added p50',
  'added p99',
  'CPU µs',
  '× floor',
  'ours/its',
];

/** Latencies of streams are to their first content; `added` is over the worker asked directly; `ours/its` compares CPU with another gateway. */
export function table({ results, memory, coldStartMs, others }: Summary): string {
  const lines = results.map((result, index) => {
    const find = (row: Row) => results.find((other) => other.workload === result.workload && other.row === row);
    const { p50, p90, p99 } = result.firstContent;
    const direct = result.row === 'direct' ? undefined : find('direct');
    const over = ratio(result, find('floor'));
    const product = find(PRODUCT);
    const ours = product !== undefined && isPeer(result.row) ? ratio(product, result) : null;
    return [
      results[index - 1]?.workload === result.workload ? '' : result.workload,
      result.row,
      result.perSecond.toFixed(0),
      ...[p50, p90, p99].map(milliseconds),
      ...(['p50', 'p99'] as const).map((figure) => milliseconds(addedUs(result, direct, figure))),
      result.cpuUs === null ? '' : result.cpuUs.toFixed(1),
      over === null ? '' : over.toFixed(2),
      ours === null ? '' : ours.toFixed(3),
    ];
  });
  const { idleBytes, peakBytes, afterBytes } = memory;
  const mb = (bytes: number) => Math.round(bytes / BYTES_PER_MB);
  const more = `memory of the gateway: ${mb(idleBytes)} MB idle, ${mb(peakBytes)} at its peak, ${mb(afterBytes)} after; started in ${Math.round(coldStartMs)} ms`;
  const other = [...others.versions, ...others.leftOut.map((line) => `left out: ${line}`)].map((line) => `${line}\n`);
  return `${aligned([head, ...lines])}\n\n${more}\n${other.join('')}`;
}

/** What a first content is compared with, as the report names it. */
const bases = { floor: 'the floor', direct: 'no gateway at all' } as const;

/** The budgets that these results tell something about. */
export function budgets({ results, memory, coldStartMs }: Summary): Budget[] {
  const pair = (workload: string) => {
    const of = (row: Row) => results.find((result) => result.workload === workload && result.row === row);
    return { direct: of('direct'), floor: of('floor'), product: of(PRODUCT) };
  };
  const cpu = (what: string, workload: string, atMost: number): Budget[] => {
    const { floor, product } = pair(workload);
    const over = product === undefined ? null : ratio(product, floor);
    return over === null ? [] : [{ what, is: over, atMost }];
  };
  const firstContent = (
    workload: string,
    figure: 'mean' | 'p50' | 'p99',
    atMost: number,
    over: keyof typeof bases = 'floor',
  ): Budget[] => {
    const { [over]: base, product } = pair(workload);
    const us = product === undefined ? null : addedUs(product, base, figure);
    if (us === null) return [];
    const is = us / 1_000;
    return [{ what: `first content over ${bases[over]}, ${workload} streams, ${figure}, ms`, is, atMost }];
  };
  return [
    ...cpu('CPU of a settled call, × floor', 'small', 1.4),
    ...cpu('CPU of a relayed frame back to back, × floor', 'stream, 0 ms', 1.7),
    ...cpu('CPU of a relayed frame every 20 ms, × floor', 'stream, 20 ms, 50', 1.3),
    ...firstContent('stream, 20 ms, 50', 'p50', 0.2),
    ...firstContent('stream, 20 ms, 200', 'p50', 0.5),
    ...firstContent('stream, 20 ms, 200', 'p99', 3),
    // R12 of the research on routing counts from the worker itself.
    ...firstContent('stream, 20 ms, 200', 'mean', 3, 'direct'),
    { what: 'idle memory, MB', is: memory.idleBytes / BYTES_PER_MB, atMost: 120 },
    { what: 'start with external Postgres, s', is: coldStartMs / 1_000, atMost: 1.5 },
    ...peerBounds.flatMap(({ row, ...bound }) => {
      const of = (wanted: Row) => results.find((result) => result.workload === PEERS_SMALL && result.row === wanted);
      const [ours, theirs] = [of(PRODUCT), of(row)];
      if (ours === undefined || theirs === undefined) return [];
      const is = 'atMost' in bound ? ratio(ours, theirs) : ratio(theirs, ours);
      const what = 'atMost' in bound ? `CPU of a settled call, ours ÷ ${row}` : `CPU of a call, ${row} ÷ ours`;
      return is === null ? [] : [{ what: what.replace('vs ', ''), is, ...bound }];
    }),
  ];
}

export function budgetTable(list: readonly Budget[]): string {
  return aligned(
    list.map(({ what, is, ...bound }) =>
      'atMost' in bound
        ? [is <= bound.atMost ? 'met' : 'over', what, is.toFixed(2), `≤ ${bound.atMost}`]
        : [is >= bound.atLeast ? 'met' : 'under', what, is.toFixed(2), `≥ ${bound.atLeast}`],
    ),
  );
}

function ratio(result: Result, floor: Result | undefined): number | null {
  return within(result, floor, (ours, its) =>
    ours.cpuUs === null || its.cpuUs === null ? null : ours.cpuUs / its.cpuUs,
  );
}

function addedUs(result: Result, base: Result | undefined, figure: 'mean' | 'p50' | 'p99'): number | null {
  return within(result, base, (ours, its) => ours.firstContent[figure] - its.firstContent[figure]);
}

/** The middle of what the rounds say of two rows; null where they say nothing. */
function within(
  one: Result,
  other: Result | undefined,
  compare: (one: Round, other: Round) => number | null,
): number | null {
  const said = one.rounds.map((round, index) => {
    const its = other?.rounds[index];
    return its === undefined ? null : compare(round, its);
  });
  const known = said.filter((value) => value !== null);
  return known.length === 0 ? null : median(known);
}

function milliseconds(us: number | null): string {
  return us === null ? '' : (us / 1_000).toFixed(2);
}

/** Words to the left, numbers to the right. */
function aligned(lines: readonly (readonly string[])[]): string {
  const widths = (lines[0] ?? []).map((_, column) => Math.max(...lines.map((line) => (line[column] ?? '').length)));
  const cell = (text: string, column: number) =>
    column < 2 ? text.padEnd(widths[column] ?? 0) : text.padStart(widths[column] ?? 0);
  return lines.map((line) => line.map(cell).join('  ').trimEnd()).join('\n');
}
