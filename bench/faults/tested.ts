/** Rows that are tests of the repository, here at a size that `npm test` has no time for. */
import type { Row } from './table.ts';
import { runTests } from './test-run.ts';

interface Tested {
  readonly name: string;
  readonly attack: string;
  readonly files: readonly string[];
  /** Only tests whose title matches. */
  readonly titles?: string;
  /** The environment that makes it so large, and the words for it. */
  readonly pr: Size;
  readonly nightly: Size;
}

interface Size {
  readonly env: Readonly<Record<string, string>>;
  readonly words: string;
}

export const tested: readonly Tested[] = [
  {
    name: 'R5',
    attack: 'random commands on the ledger and on a model of it',
    files: ['payments/model.test.ts'],
    pr: { env: { FAREGATE_MODEL_RUNS: '200' }, words: '200 runs of up to 50 commands' },
    nightly: {
      env: { FAREGATE_MODEL_RUNS: '5000', FAREGATE_MODEL_COMMANDS: '100' },
      words: '5,000 runs of up to 100 commands',
    },
  },
  {
    name: 'R6',
    attack: 'simulated disk and database: torn, lost, flipped, copied, adopted late',
    files: ['bench/faults/simulation.test.ts'],
    pr: { env: { FAREGATE_SIMULATION_SEEDS: '2000' }, words: '2,000 seeds' },
    nightly: { env: { FAREGATE_SIMULATION_SEEDS: '20000' }, words: '20,000 seeds' },
  },
  {
    name: 'R9',
    attack: 'stock client through a network that drops two of three: one charge per call',
    files: ['gateway/e2e/client-retries.test.ts'],
    pr: { env: { FAREGATE_RETRIED_CALLS: '500' }, words: '500 calls' },
    nightly: { env: { FAREGATE_RETRIED_CALLS: '10000' }, words: '10,000 calls' },
  },
  {
    name: 'R15',
    attack: 'journals of older and newer releases',
    files: ['payments/journal.test.ts', 'payments/instance.test.ts'],
    titles: 'release',
    pr: { env: {}, words: '5 tests' },
    nightly: { env: {}, words: '5 tests' },
  },
];

export async function testedRow({ name, attack, files, titles, ...sizes }: Tested, long: boolean): Promise<Row> {
  const size = long ? sizes.nightly : sizes.pr;
  const ends = await runTests([...files, ...(titles === undefined ? [] : ['-t', titles])], size.env);
  const ran = [...ends].filter(([, { status }]) => status === 'passed' || status === 'failed');
  const failed = ran.filter(([, { status }]) => status === 'failed');
  const why = failed.map(([title, { message }]) => `; ${title}: ${told(message)}`).join('');
  return {
    name,
    attack,
    size: size.words,
    result: `${ran.length - failed.length} passed, ${failed.length} failed${why}`,
    good: ran.length > 0 && failed.length === 0,
  };
}

/** What went wrong, without the commands that led there, which its seed tells too, and without the stack. */
function told(message: string): string {
  const lines = message.split('\n').filter((line) => !/^(Counterexample|\s+at )/.test(line));
  return lines.join(' ').slice(0, 400);
}
