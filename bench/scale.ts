/**
 * `npm run bench:scale`: what two gateway processes can do, against one. The generator, the worker and the database need cores too, so the
 * calls come at a pace that leaves room for all of them, the same for each process, and what is compared is how many calls there are to
 * a second of CPU of the busiest process: as many a second as it could serve with a core to itself. Calls that are spread unevenly
 * count against it, and so does whatever one process costs the other. The books are checked after every run.
 */
import { parseArgs } from 'node:util';
import { stderrProgress } from '../workers/progress.ts';
import { membersCpuUs } from './cpu.ts';
import { storeResult } from './machine.ts';
import { median } from './measure.ts';
import { leaveMeasuredCore, startHelper } from './processes.ts';
import { runJob } from './runs.ts';
import { pacedJob } from './workloads.ts';
import { buildWorld } from './world.ts';

const HELP = `npm run bench:scale

Compares FAREGATE_PROCESSES=2 with one process, in interleaved rounds (Linux only), and keeps the result in bench/results/. Exits 1 when
two do less than 1.7 × what one does, when a call is lost, or when the books do not balance.
`;

const ROUNDS = 7;
const PER_SECOND = 2_500;
const CONNECTIONS = 16;
const RUN_MS = 3_000;
const FIRST_MS = 8_000;
const RATIO_MIN = 1.7;

const { values } = parseArgs({ options: { help: { type: 'boolean', default: false } } });
if (values.help) process.stdout.write(HELP);
else process.exitCode = (await compare()) ? 0 : 1;
process.exit();

async function compare(): Promise<boolean> {
  leaveMeasuredCore();
  const progress = stderrProgress();
  progress.step('starting Postgres, a worker and three gateways');
  const world = await buildWorld();
  const generator = startHelper('bench/load.ts');
  try {
    const gateways = [];
    for (const count of [1, 2]) {
      gateways.push({ count, child: await world.startProcesses(count), perSecond: [] as number[] });
    }
    let calls = 0;
    for (let round = 0; round <= ROUNDS; round++) {
      progress.step(round === 0 ? 'warming up' : `round ${round} of ${ROUNDS}`);
      for (const { count, child, perSecond } of gateways) {
        const job = pacedJob({
          url: child.url,
          keys: world.keys,
          connections: CONNECTIONS * count,
          perSecond: PER_SECOND * count,
          runMs: round === 0 ? FIRST_MS : RUN_MS,
        });
        const before = await membersCpuUs(child.process.pid ?? 0);
        const { loaded } = await runJob(generator, child, job);
        const busiestUs = busiest(before, await membersCpuUs(child.process.pid ?? 0));
        calls += loaded.allCalls;
        await world.books(calls);
        if (round > 0) perSecond.push((loaded.allCalls / busiestUs) * 1e6);
      }
    }
    progress.done();
    return told(gateways.map(({ perSecond }) => median(perSecond)));
  } finally {
    await world.stop();
  }
}

function busiest(before: ReadonlyMap<number, number>, after: ReadonlyMap<number, number>): number {
  return Math.max(...[...after].map(([pid, us]) => us - (before.get(pid) ?? 0)));
}

async function told([one = 0, two = 0]: readonly number[]): Promise<boolean> {
  const ratio = two / one;
  const rate = (perSecond: number) => `${Math.round(perSecond)} calls to a second of the busiest one's CPU`;
  process.stdout.write(`one process: ${rate(one)}\ntwo: ${rate(two)}, ${ratio.toFixed(2)} ×, at least ${RATIO_MIN}\n`);
  await storeResult('scale', { onePerSecond: one, twoPerSecond: two, ratio });
  return ratio >= RATIO_MIN;
}
