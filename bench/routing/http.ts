/**
 * `npm run bench:routing-http`: the product's router and two choices at random in real time over HTTP, each in front of eight simulated vLLM
 * servers of its own. Both get the same long chats at the same moments, so that whatever else the machine does hits both alike; runs of
 * several seeds are taken together, for the 99th percentile of one run is its fourth worst call. Beside it the same traces in simulated time.
 */
import { parseArgs } from 'node:util';
import { stderrProgress } from '../../workers/progress.ts';
import { machine, storeResult } from '../machine.ts';
import { type Asked, faregate, play, startServers, twoChoices } from './http-fleet.ts';
import { OURS, policies } from './policies.ts';
import { quantile, simulate } from './simulate.ts';
import { generate } from './trace.ts';

const HELP = `npm run bench:routing-http -- [--seconds N] [--load X] [--seeds 1,2,3,4]

Prints the first content (p50, p99) and the share of calls in time of both, over HTTP and simulated, and stores them in bench/results/.
Takes the seconds of each seed, and half a minute. Exits 1 when the p99 is above 0.8 of that of two choices.
`;
const RATIO_MAX = 0.8;
const OTHER = 'two choices';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '150' },
    load: { type: 'string', default: '1' },
    seeds: { type: 'string', default: '1,2,3,4' },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) process.stdout.write(HELP);
else await bench();
process.exit();

interface Measured {
  readonly calls: number;
  readonly failed: number;
  readonly ttftP50Ms: number;
  readonly ttftP99Ms: number;
  readonly goodput: number;
  /** How late calls were sent at the 99th percentile: the machine's noise. */
  readonly lateP99Ms: number;
}

async function bench(): Promise<void> {
  const progress = stderrProgress();
  progress.step('starting sixteen servers');
  const fleets = await Promise.all([startServers(), startServers()]);
  try {
    const ours: Asked[][] = [];
    const others: Asked[][] = [];
    const seeds = values.seeds.split(',').map(Number);
    for (const seed of seeds) {
      const trace = generate('long chat', { seed, load: Number(values.load), seconds: Number(values.seconds) });
      progress.step(`seed ${seed}, ${trace.length} calls`);
      const [us, them] = await Promise.all([
        play(fleets[0], trace, { seed, salt: `ours ${seed}`, policyOf: faregate }),
        play(fleets[1], trace, { seed, salt: `others ${seed}`, policyOf: twoChoices }),
      ]);
      ours.push(us);
      others.push(them);
    }
    progress.done();
    await report(seeds, ours, others);
  } finally {
    await Promise.all(fleets.flat().map((server) => server.stop()));
  }
}

function measured(asked: readonly Asked[]): Measured {
  const firsts = asked.flatMap(({ ttftMs }) => (ttftMs === null ? [] : [ttftMs]));
  return {
    calls: asked.length,
    failed: asked.length - firsts.length,
    ttftP50Ms: quantile(firsts, 0.5),
    ttftP99Ms: quantile(firsts, 0.99),
    goodput: asked.filter(({ inTime }) => inTime).length / asked.length,
    lateP99Ms: quantile(
      asked.map(({ lateMs }) => lateMs),
      0.99,
    ),
  };
}

/** The same traces without a machine in the way. */
function simulated(seeds: readonly number[], policy: string): Measured {
  const firsts: number[] = [];
  let calls = 0;
  let good = 0;
  for (const seed of seeds) {
    const trace = generate('long chat', { seed, load: Number(values.load), seconds: Number(values.seconds) });
    const build = policies[policy];
    if (build === undefined) throw new Error(`no policy ${policy}`);
    const outcome = simulate(trace, build, seed, { onFirst: (ttftMs) => firsts.push(ttftMs) });
    calls += outcome.calls;
    good += outcome.goodput * outcome.calls;
  }
  const [ttftP50Ms, ttftP99Ms] = [quantile(firsts, 0.5), quantile(firsts, 0.99)];
  return { calls, failed: calls - firsts.length, ttftP50Ms, ttftP99Ms, goodput: good / calls, lateP99Ms: 0 };
}

async function report(seeds: readonly number[], ours: Asked[][], others: Asked[][]): Promise<void> {
  const results = {
    [OTHER]: measured(others.flat()),
    [OURS]: measured(ours.flat()),
    [`${OTHER}, simulated`]: simulated(seeds, OTHER),
    [`${OURS}, simulated`]: simulated(seeds, OURS),
  };
  process.stdout.write(`${machine()}\n\n${' '.repeat(24)}   in time   first p50 s    p99 s  failed  late p99 ms\n`);
  for (const [name, { goodput, ttftP50Ms, ttftP99Ms, failed, lateP99Ms }] of Object.entries(results)) {
    const seconds = [ttftP50Ms, ttftP99Ms].map((ms) => (ms / 1_000).toFixed(2));
    const cells = [goodput.toFixed(3), ...seconds, String(failed), lateP99Ms.toFixed(1)];
    process.stdout.write(`${name.padEnd(24)}${cells.map((cell) => cell.padStart(10)).join('')}\n`);
  }
  const ratioOf = (us: readonly Asked[], them: readonly Asked[]) => measured(us).ttftP99Ms / measured(them).ttftP99Ms;
  const ratio = ratioOf(ours.flat(), others.flat());
  const bySeed = seeds.map((_, at) => ratioOf(ours[at] ?? [], others[at] ?? []));
  const verdict = ratio <= RATIO_MAX ? 'met ' : 'OVER';
  process.stdout.write(
    `\n${verdict}  p99 of the first content, × two choices  ${ratio.toFixed(3)}  (${RATIO_MAX}; seed by seed ${bySeed.map((one) => one.toFixed(2)).join(', ')})\n`,
  );
  const { seconds, load } = values;
  await storeResult('routing-http', { seconds: Number(seconds), load: Number(load), seeds, ratio, bySeed, results });
  if (ratio > RATIO_MAX) process.exitCode = 1;
}
