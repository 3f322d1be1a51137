/**
 * `npm run bench:gate`: fails when a call or a frame has become dearer, measured against the floor in the same minute. What is
 * compared is the least CPU of several short runs each: a busy machine only ever adds to it, and the bounds stand far
 * above what noise was seen to reach. The books are checked as in every bench.
 */
import { parseArgs } from 'node:util';
import { stderrProgress } from '../workers/progress.ts';
import { Bench, type Target } from './measure.ts';
import { leaveMeasuredCore, startHelper } from './processes.ts';
import { PRODUCT, quickWorkloads, type Row, type Workload } from './workloads.ts';
import { buildWorld } from './world.ts';

const HELP = `npm run bench:gate

Compares the CPU of a settled call, and of a relayed frame, with a bare pass-through. Exits 1 above the bounds.
`;

/** By workload: the most that the product may cost, × floor. Nearly twice what a busy machine of two cores showed. */
const BOUNDS: Readonly<Record<string, number>> = { small: 6, 'stream, 0 ms': 4 };
const PLAN = { rounds: 3, runMs: 700, firstMs: 2_000 };

const { values } = parseArgs({ options: { help: { type: 'boolean', default: false } } });
if (values.help) process.stdout.write(HELP);
else process.exitCode = (await passes()) ? 0 : 1;
process.exit();

async function passes(): Promise<boolean> {
  leaveMeasuredCore();
  const progress = stderrProgress();
  progress.step('starting Postgres, a worker, the floor and a gateway');
  const world = await buildWorld();
  try {
    const targets = new Map<Row, Target>([
      ['floor', { child: await world.startFloor(), keys: [], money: false, receipts: false }],
      [PRODUCT, { child: world.gateway, keys: world.keys, money: true, receipts: false }],
    ]);
    const bench = new Bench(world, startHelper('bench/load.ts'), targets, progress);
    const results = await bench.run({ ...PLAN, workloads: gated() });
    progress.done();
    return Object.entries(BOUNDS)
      .map(([workload, atMost]) => {
        const least = (row: Row) =>
          results.find((result) => result.workload === workload && result.row === row)?.leastCpuUs ?? Number.NaN;
        const is = least(PRODUCT) / least('floor');
        process.stdout.write(
          `${is <= atMost ? 'ok  ' : 'FAIL'} ${workload}: ${is.toFixed(2)} × floor, at most ${atMost}\n`,
        );
        return is <= atMost;
      })
      .every(Boolean);
  } finally {
    await world.stop();
  }
}

function gated(): Workload[] {
  return quickWorkloads
    .filter(({ name }) => name in BOUNDS)
    .map((workload) => ({ ...workload, rows: ['floor', PRODUCT] }));
}
