/** `npm run bench`: what each part of the gateway's work costs over the floor, with the books checked after every run. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { stderrProgress } from '../workers/progress.ts';
import { chart } from './chart.ts';
import { commit, machine, storeResult, storeText } from './machine.ts';
import { Bench, type Plan, type Target } from './measure.ts';
import { type Given, readGiven } from './peers/given.ts';
import { peers } from './peers/list.ts';
import { compare, INSTALLED } from './peers/part.ts';
import { leaveMeasuredCore, pins, startHelper } from './processes.ts';
import { budgets, budgetTable, type Summary, table } from './report.ts';
import { allWorkloads, quickWorkloads, type Row } from './workloads.ts';
import { buildWorld, type World } from './world.ts';

const HELP = `npm run bench -- [--quick] [--json] [--rounds N] [--run-ms N] [--only-peers]
                     [--peers DIR] [--peer NAME=URL[#key=…&pid=…&prefix=…]] [--worker-port N]

Measures a worker asked directly, a bare pass-through (the floor), and the gateway with more and more of its work on;
then other gateways (bench/peers/README.md) in the same rounds as ours, and last what bench:scale and bench:balance compare.
  --quick         two minutes instead of twenty: fewer workloads, shorter runs, no scale and balance, nothing stored
  --json          everything as one JSON object on stdout
  --peers DIR     where other gateways are installed, ${INSTALLED} unless told
  --peer          one that runs already, on loopback, in front of --worker-port; its CPU is told when its pid is
  --worker-port   where the worker is to listen, any free port unless told
  --only-peers    nothing but that comparison, and nothing stored
The full run is stored in bench/results/. Exits 1 when a call is lost or wrongly charged, when the books do not balance, or when two processes
or a small balance are slower than they may be.
`;

const FULL: Plan = { workloads: allWorkloads, rounds: 3, runMs: 3_000, firstMs: 8_000 };
const QUICK: Plan = { workloads: quickWorkloads, rounds: 2, runMs: 800, firstMs: 1_500 };
const REST_MS = 3_000;
/** What needs gateways of its own: two processes beside one, little money beside much. */
const FURTHER = ['bench/scale.ts', 'bench/balance.ts'];

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    'run-ms': { type: 'string' },
    peers: { type: 'string', default: INSTALLED },
    peer: { type: 'string', multiple: true, default: [] },
    'worker-port': { type: 'string', default: '0' },
    'only-peers': { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  process.stdout.write(HELP);
} else {
  const given = values.peer.map(readGiven);
  const plan = values.quick ? QUICK : FULL;
  const sized = {
    ...plan,
    rounds: Number(values.rounds ?? plan.rounds),
    runMs: Number(values['run-ms'] ?? plan.runMs),
  };
  const summary = await measure(values['only-peers'] ? { ...sized, workloads: [] } : sized, given);
  const place = `${machine()}, ${pins ? 'gateway alone on one core' : 'not pinned'}`;
  const text = `${place}, commit ${commit()}\n\n${table(summary)}\n${budgetTable(budgets(summary))}\n`;
  process.stdout.write(values.json ? `${JSON.stringify({ place, commit: commit(), ...summary }, null, 2)}\n` : text);
  if (!values.quick && !values['only-peers']) {
    await storeResult('bench', { pinned: pins, ...summary, budgets: budgets(summary) });
    await storeText('bench.svg', chart(summary.results, `CPU per call, ${place}`));
    for (const file of FURTHER) if (!(await succeeds(file))) process.exitCode = 1;
  }
}
process.exit();

/** Runs another bench; with `--json` nothing but ours is on stdout. */
async function succeeds(file: string): Promise<boolean> {
  const child = spawn(process.execPath, [file], { stdio: ['ignore', values.json ? 'ignore' : 'inherit', 'inherit'] });
  const [code] = await once(child, 'exit');
  return code === 0;
}

async function measure(plan: Plan, given: readonly Given[]): Promise<Summary> {
  leaveMeasuredCore();
  const progress = stderrProgress();
  progress.step('starting Postgres, a worker, and the gateways');
  const world = await buildWorld(Number(values['worker-port']));
  try {
    const fresh = await freshStart(world);
    const rows = await startRows(world);
    const bench = new Bench(world, startHelper('bench/load.ts'), rows, progress);
    const results = await bench.run(plan);
    await sleep(REST_MS);
    const { peakRssBytes, rssBytes } = await world.gateway.used();
    const memory = { idleBytes: fresh.rssBytes, peakBytes: peakRssBytes, afterBytes: rssBytes };
    const asked = { peers, folder: values.peers, given, workerUrl: world.worker.url };
    const { results: compared, ...others } = await compare(bench, plan, rows, asked, progress);
    return { results: [...results, ...compared], memory, coldStartMs: fresh.tookMs, others };
  } finally {
    progress.step('stopping');
    await world.stop();
    progress.done();
  }
}

async function startRows(world: World): Promise<Map<Row, Target>> {
  const free = { keys: [], money: false, receipts: false };
  const paid = { child: world.gateway, keys: world.keys, money: true };
  return new Map<Row, Target>([
    ['direct', { ...free, child: world.worker }],
    ['floor', { ...free, child: await world.startFloor() }],
    ['pass-through', { ...free, child: await world.startBeside('bench/stage.ts', ['pass']) }],
    ['+ auth, limits', { ...free, keys: world.keys, child: await world.startBeside('bench/stage.ts', ['auth']) }],
    ['+ hold, settle', { ...paid, receipts: false }],
    ['+ receipts', { ...paid, receipts: true }],
  ]);
}

/** The installed command, from nothing to ready, on a database that is there; and its memory when it has done nothing yet. */
async function freshStart(world: World): Promise<{ tookMs: number; rssBytes: number }> {
  const beganMs = performance.now();
  const child = await world.startBeside('dist/gateway/bin.mjs', ['serve']);
  const tookMs = performance.now() - beganMs;
  const { rssBytes } = await child.used();
  await child.stop();
  return { tookMs, rssBytes };
}
