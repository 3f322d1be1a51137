/**
 * `npm run bench:soak`: very many streams, of which every tenth caller leaves early, and what the gateway's memory does meanwhile.
 * The books are checked after every part.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { stderrProgress } from '../workers/progress.ts';
import { Bench, type Target } from './measure.ts';
import { leaveMeasuredCore, startHelper } from './processes.ts';
import { allWorkloads, PRODUCT, type Row } from './workloads.ts';
import { buildWorld, type World } from './world.ts';

const HELP = `npm run bench:soak -- [--streams N]

Makes N streams (100000), 10 % of them left by their callers at the first content. Exits 1 when the memory of the gateway after
them is more than 20 % above what it was after the first tenth, when a call is lost, or when the books do not balance.
`;

const STREAMS = 100_000;
const PART_MS = 10_000;
const REST_MS = 10_000;
const GROWTH_MAX = 1.2;
const BYTES_PER_MB = 1_048_576;

const { values } = parseArgs({ options: { streams: { type: 'string' }, help: { type: 'boolean', default: false } } });
if (values.help) process.stdout.write(HELP);
else process.exitCode = (await soak(Number(values.streams ?? STREAMS))) ? 0 : 1;
process.exit();

async function soak(streams: number): Promise<boolean> {
  leaveMeasuredCore();
  const progress = stderrProgress();
  progress.step('starting Postgres, a worker and a gateway');
  const world = await buildWorld();
  try {
    const target = { child: world.gateway, keys: world.keys, money: true, receipts: false };
    const bench = new Bench(world, startHelper('bench/load.ts'), new Map<Row, Target>([[PRODUCT, target]]), progress);
    const workloads = allWorkloads
      .filter(({ abortShare }) => abortShare > 0)
      .map((workload) => ({ ...workload, rows: [PRODUCT] }));
    let before: number | null = null;
    for (let made = 0; made < streams; made = (await world.books(0)).calls) {
      if (before === null && made >= streams / 10) before = await restingBytes(world, made);
      await bench.run({ workloads, rounds: 1, runMs: PART_MS, firstMs: PART_MS });
    }
    const after = await restingBytes(world, streams);
    const growth = after / (before ?? after);
    process.stdout.write(`memory after all over memory after a tenth: ${growth.toFixed(2)}, at most ${GROWTH_MAX}\n`);
    return growth <= GROWTH_MAX;
  } finally {
    progress.done();
    await world.stop();
  }
}

/** Memory when nothing has gone on for a while. */
async function restingBytes(world: World, streams: number): Promise<number> {
  await sleep(REST_MS);
  const { rssBytes } = await world.gateway.used();
  process.stdout.write(`${streams} streams: ${Math.round(rssBytes / BYTES_PER_MB)} MB\n`);
  return rssBytes;
}
