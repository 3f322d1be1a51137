/**
 * `npm run bench:gate`: fails when a call or a frame has become dearer, measured against the floor in the same minute. What is
 * compared is the least CPU of several short runs each: a busy machine only ever adds to it. One that is busy now is given more runs.
 * The books are checked as in every bench.
 */
import { parseArgs } from 'node:util';
import { stderrProgress } from '../workers/progress.ts';
import { Bench, type Result, type Target } from './measure.ts';
import { leaveMeasuredCore, startHelper } from './processes.ts';
import { PRODUCT, quickWorkloads, type Row, type Workload } from './workloads.ts';
import { buildWorld } from './world.ts';

const HELP = `npm run bench:gate

Compares the CPU of a settled call, and of a relayed frame, with a bare pass-through. Exits 1 above the bounds.
`;

/** By workload: the most that the product may cost, × floor. A machine of two cores without other work was seen to come to 2.2 and 1.1; other work added half. */
const BOUNDS: Readonly<Record<string, number>> = { small: 3.6, 'stream, 0 ms': 1.9 };
const PLAN = { rounds: 3, runMs: 700, firstMs: 2_000 };
const TRIES = 6;

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
    let over = gated();
    const results: Result[] = [];
    for (let tries = 0; tries < TRIES && over.length > 0; tries++) {
      results.push(...(await bench.run({ ...PLAN, workloads: over })));
      over = over.filter(({ name }) => timesFloor(results, name) > boundOf(name));
    }
    progress.done();
    for (const { name } of gated()) {
      const word = over.some((workload) => workload.name === name) ? 'FAIL' : 'ok  ';
      process.stdout.write(
        `${word} ${name}: ${timesFloor(results, name).toFixed(2)} × floor, at most ${boundOf(name)}\n`,
      );
    }
    return over.length === 0;
  } finally {
    await world.stop();
  }
}

function boundOf(workload: string): number {
  return BOUNDS[workload] ?? 0;
}

/** The least of the product over the least of the floor. */
function timesFloor(results: readonly Result[], workload: string): number {
  const least = (row: Row) =>
    Math.min(
      ...results
        .filter((result) => result.workload === workload && result.row === row)
        .flatMap(({ rounds }) => rounds.map(({ cpuUs }) => cpuUs ?? Number.NaN)),
    );
  return least(PRODUCT) / least('floor');
}

function gated(): Workload[] {
  return quickWorkloads
    .filter(({ name }) => name in BOUNDS)
    .map((workload) => ({ ...workload, rows: ['floor', PRODUCT], parts: 1 }));
}
