/** `npm run bench:routing`: the product's router against twelve others, in simulated time, on four kinds of traces. */
import { parseArgs } from 'node:util';
import { stderrProgress } from '../../workers/progress.ts';
import { machine, storeResult, storeText } from '../machine.ts';
import { chart } from './chart.ts';
import { type Gate, gates } from './gates.ts';
import { fourGateways, OURS, policies } from './policies.ts';
import { Chance } from './random.ts';
import { type Outcome, simulate } from './simulate.ts';
import { generate, type KindName, kinds, type TraceCall } from './trace.ts';
import { readTrace } from './trace-file.ts';

const HELP = `npm run bench:routing -- [--trace FILE] [--loads 1,1.3] [--seeds 1,2,3] [--seconds N]

Prints, for each kind of trace and each load, how many calls each policy served in time, and how long the first content took; then
whether the gates hold, at each load and for each seed. Without a file the traces are made, and the results stored in bench/results/.
  --trace FILE   a Mooncake trace (JSON lines) or an Azure one (CSV) of your own instead
Exits 1 when a gate is missed.
`;

const { values } = parseArgs({
  options: {
    trace: { type: 'string' },
    loads: { type: 'string', default: '0.3,0.6,1,1.3,1.7' },
    seeds: { type: 'string', default: '1,2,3' },
    seconds: { type: 'string', default: '900' },
    help: { type: 'boolean', default: false },
  },
});

export interface Line {
  readonly trace: string;
  readonly load: number;
  readonly policy: string;
  /** One per seed. */
  readonly outcomes: readonly Outcome[];
}

if (values.help) process.stdout.write(HELP);
else await bench();

async function bench(): Promise<void> {
  const loads = numbers(values.loads);
  const seeds = numbers(values.seeds);
  const progress = stderrProgress();
  const lines: Line[] = [];
  const missed: (Gate & { trace: string; load: number; seed: number })[] = [];
  const names = values.trace === undefined ? Object.keys(kinds) : [values.trace];
  for (const trace of names) {
    for (const load of loads) {
      progress.step(`${trace}, load ${load}`);
      const found = await compare(trace, load, seeds);
      lines.push(...found);
      process.stdout.write(`${table(found)}\n`);
      if (values.trace !== undefined) continue;
      for (const [index, seed] of seeds.entries()) {
        const outcomes = new Map(found.flatMap(({ policy, outcomes: all }) => entry(policy, all[index])));
        const judged = gates(trace as KindName, outcomes);
        process.stdout.write(judged.map((gate) => gateLine(gate, seed)).join(''));
        missed.push(...judged.filter(({ isMet }) => !isMet).map((gate) => ({ ...gate, trace, load, seed })));
      }
    }
  }
  progress.done();
  if (values.trace === undefined) {
    await storeResult('routing', { seconds: Number(values.seconds), seeds, missed, lines });
    await storeText('routing.svg', chart(lines, loads, `Calls served in time, by load; ${machine()}`));
  }
  if (missed.length > 0) process.exitCode = 1;
}

async function compare(trace: string, load: number, seeds: readonly number[]): Promise<Line[]> {
  const traces = await Promise.all(seeds.map((seed) => traceOf(trace, load, seed)));
  return Object.entries({ ...policies, ...fourGateways }).map(([policy, build]) => ({
    trace,
    load,
    policy,
    outcomes: traces.map((calls, index) => simulate(calls, build, seeds[index] ?? 0)),
  }));
}

function traceOf(name: string, load: number, seed: number): Promise<TraceCall[]> | TraceCall[] {
  if (values.trace !== undefined) return readTrace(values.trace, load, new Chance(seed).next);
  return generate(name as KindName, { seed, load, seconds: Number(values.seconds) });
}

function table(lines: readonly Line[]): string {
  const head = `${lines[0]?.trace}, load ${lines[0]?.load}: ${lines[0]?.outcomes.map(({ calls }) => calls).join(' / ')} calls`;
  const columns = '                 in time  (spread)   first p50 s  p99 s (spread)   cached  shed  error p50';
  return [`\n${head}`, columns, ...lines.map(row)].join('\n');
}

function row({ policy, outcomes }: Line): string {
  const of = (value: (outcome: Outcome) => number) => outcomes.map(value);
  const cells = [
    policy.padEnd(16),
    mean(of(({ goodput }) => goodput))
      .toFixed(3)
      .padStart(8),
    spread(of(({ goodput }) => goodput))
      .toFixed(3)
      .padStart(9),
    (mean(of(({ ttftP50Ms }) => ttftP50Ms)) / 1_000).toFixed(2).padStart(12),
    (mean(of(({ ttftP99Ms }) => ttftP99Ms)) / 1_000).toFixed(2).padStart(8),
    (spread(of(({ ttftP99Ms }) => ttftP99Ms)) / 1_000).toFixed(2).padStart(8),
    mean(of(({ cachedShare }) => cachedShare))
      .toFixed(2)
      .padStart(8),
    mean(of(({ shed }) => shed))
      .toFixed(0)
      .padStart(5),
  ];
  const errors = outcomes.map(({ errorP50 }) => errorP50).filter((error) => error !== null);
  return `${cells.join(' ')} ${errors.length === 0 ? '' : mean(errors).toFixed(2).padStart(8)}${policy === OURS ? '  ←' : ''}`;
}

function gateLine({ name, value, limit, isMet }: Gate, seed: number): string {
  return `${isMet ? 'met ' : 'OVER'}  seed ${seed}  ${name.padEnd(46)} ${value.toFixed(3)}  (${limit})\n`;
}

function mean(list: readonly number[]): number {
  return list.reduce((sum, value) => sum + value, 0) / list.length;
}

/** Half of what lies between the least and the most. */
function spread(list: readonly number[]): number {
  return (Math.max(...list) - Math.min(...list)) / 2;
}

function numbers(list: string): number[] {
  return list.split(',').map(Number);
}

function entry(policy: string, outcome: Outcome | undefined): [string, Outcome][] {
  return outcome === undefined ? [] : [[policy, outcome]];
}
