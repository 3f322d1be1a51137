/**
 * `npm run bench:balance`: does an agent with little money wait longer than one with much? Leases are cut to the balance, so this
 * is where a round trip to the database for each call would show.
 */
import { parseArgs } from 'node:util';
import { stderrProgress } from '../workers/progress.ts';
import { median } from './measure.ts';
import { leaveMeasuredCore, startHelper } from './processes.ts';
import { runJob } from './runs.ts';
import { pacedJob } from './workloads.ts';
import { buildWorld } from './world.ts';

const HELP = `npm run bench:balance

Compares the latency of calls at a balance of $0.50 and of $500, in interleaved rounds. Exits 1 when their p99 differ by more than
a fifth, when a call is lost, or when the books do not balance.
`;

const BALANCES = { poor: 500_000_000n, rich: 500_000_000_000n };
/** Many, as the p99 of the few hundred calls of one round is a matter of luck. */
const ROUNDS = 15;
const PER_SECOND = 150;
const RUN_MS = 3_000;
const CONNECTIONS = 8;
const RATIO_MAX = 1.2;

const { values } = parseArgs({ options: { help: { type: 'boolean', default: false } } });
if (values.help) process.stdout.write(HELP);
else process.exitCode = (await compare()) ? 0 : 1;
process.exit();

async function compare(): Promise<boolean> {
  leaveMeasuredCore();
  const progress = stderrProgress();
  progress.step('starting Postgres, a worker and a gateway');
  const world = await buildWorld();
  const generator = startHelper('bench/load.ts');
  const p50: Record<keyof typeof BALANCES, number[]> = { poor: [], rich: [] };
  const p99: typeof p50 = { poor: [], rich: [] };
  let calls = 0;
  try {
    for (let round = 0; round <= ROUNDS; round++) {
      progress.step(round === 0 ? 'warming up' : `round ${round} of ${ROUNDS}`);
      for (const who of ['poor', 'rich'] as const) {
        const keys = [await world.fund(BALANCES[who])];
        const { url } = world.gateway;
        const job = pacedJob({ url, keys, connections: CONNECTIONS, perSecond: PER_SECOND, runMs: RUN_MS });
        const { loaded } = await runJob(generator, world.gateway, job);
        calls += loaded.allCalls;
        await world.books(calls);
        if (round === 0) continue;
        p50[who].push(loaded.whole.p50);
        p99[who].push(loaded.whole.p99);
      }
    }
  } finally {
    progress.done();
    await world.stop();
  }
  const ratio = median(p99.poor) / median(p99.rich);
  for (const who of ['poor', 'rich'] as const) {
    const ms = (us: number) => (us / 1_000).toFixed(2);
    process.stdout.write(`${who}: p50 ${ms(median(p50[who]))} ms, p99 ${ms(median(p99[who]))} ms\n`);
  }
  process.stdout.write(`p99 of the poor over p99 of the rich: ${ratio.toFixed(2)}, at most ${RATIO_MAX}\n`);
  return ratio <= RATIO_MAX;
}
