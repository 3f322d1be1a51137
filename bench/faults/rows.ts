/** The rows of the table, in order: what is attacked how hard, and which figures must come out. */
import { type Violation, violations } from '../../db/checks.ts';
import { type Random, seededRandom } from '../../workers/simulator/random.ts';
import { attack, type Chaos, type Outcome } from './attack.ts';
import { badNetwork, databaseCrashes, databaseFreeze, databaseFull, journalDisk, kills } from './attacks.ts';
import { exactness } from './exact.ts';
import { killMutants } from './mutation.ts';
import { diskRow, killRow, networkRow, outageRow, plainRow, readerRow } from './outcome-rows.ts';
import { replayRow } from './replay.ts';
import { openSite, type Site } from './site.ts';
import type { Row } from './table.ts';
import { tested, testedRow } from './tested.ts';

export type Progress = (text: string) => void;

interface Run {
  readonly seed: number;
  readonly nightly: boolean;
  /** Names of rows; null: all. */
  readonly only: readonly string[] | null;
  readonly progress: Progress;
}

/** How hard: for a pull request, and at night. */
const SIZES = {
  pr: { kills: 60, crashMs: 21_000, freezeMs: 30_000, fullMs: 5_000, ambiguous: 50, rounds: 50 },
  nightly: { kills: 1_000, crashMs: 300_000, freezeMs: 30_000, fullMs: 30_000, ambiguous: 1_000, rounds: 1_000 },
} as const;
const DISK_ERRORS = ['ENOSPC', 'EIO', 'EROFS'] as const;

/** A site, and what is done to it. */
interface Siege {
  readonly site: Site;
  readonly random: Random;
  readonly size: (typeof SIZES)[keyof typeof SIZES];
  readonly wanted: (name: string) => boolean;
  readonly progress: Progress;
  under(name: string, what: string, chaos: Chaos): Promise<Outcome>;
}

/** What is besieged together: each on a site of its own, side by side, as most of the time of both goes by in waiting. */
const sieges: readonly { readonly names: readonly string[]; readonly rows: (siege: Siege) => Promise<Row[]> }[] = [
  { names: ['R1', 'R4', 'R7'], rows: killsAndNetwork },
  { names: ['R3', 'R13'], rows: outagesAndDisks },
];

export async function runRows(run: Run): Promise<Row[]> {
  const wanted = (name: string) => run.only === null || run.only.includes(name);
  const attacked = await Promise.all(
    sieges.flatMap(({ names, rows }, index) =>
      names.some(wanted) ? [besiege(run, wanted, seededRandom(run.seed + index), rows)] : [],
    ),
  );
  const tests = tested.filter(({ name }) => wanted(name));
  for (const { name, attack: what } of tests) run.progress(`${name}  ${what} …`);
  const rows = [
    ...attacked.flatMap((end) => end.rows),
    ...(await Promise.all(tests.map((test) => testedRow(test, run.nightly)))),
    ...(wanted('R8') ? [await mutationRow(run.progress)] : []),
  ];
  if (attacked.length > 0) {
    const outcomes = attacked.flatMap((end) => end.outcomes);
    if (outcomes.length > 0) rows.push(readerRow(outcomes));
    rows.push(
      checksRow(
        outcomes,
        attacked.map((end) => end.unbalanced),
      ),
    );
  }
  return rows.sort((a, b) => Number(a.name.slice(1)) - Number(b.name.slice(1)));
}

async function besiege(
  { nightly, progress }: Run,
  wanted: Siege['wanted'],
  random: Random,
  attackAll: (siege: Siege) => Promise<Row[]>,
): Promise<{ rows: readonly Row[]; outcomes: readonly Outcome[]; unbalanced: readonly Violation[] }> {
  const site = await openSite();
  const outcomes: Outcome[] = [];
  const under = async (name: string, what: string, chaos: Chaos): Promise<Outcome> => {
    progress(`${name}  ${what} …`);
    const outcome = await attack(site, `${name} ${what}`, random, chaos);
    outcomes.push(outcome);
    return outcome;
  };
  try {
    const size = SIZES[nightly ? 'nightly' : 'pr'];
    const rows = await attackAll({ site, random, size, wanted, progress, under });
    return { rows, outcomes, unbalanced: await violations(site.cluster.database.sql) };
  } finally {
    await site.close();
  }
}

async function killsAndNetwork({ site, random, size, wanted, progress, under }: Siege): Promise<Row[]> {
  const rows: Row[] = [];
  if (wanted('R1')) rows.push(killRow(await under('R1', 'kill -9', kills(random, size.kills)), site));
  if (wanted('R4')) rows.push(networkRow(await under('R4', 'bad network', badNetwork(random, size.ambiguous))));
  // Last: their calls are no gateway's, so that the audits must not meet them.
  if (wanted('R1')) {
    progress('R1  start over a long journal …');
    rows.push(await replayRow(site));
  }
  if (wanted('R7')) rows.push(await exactRow({ site, random, size, progress }));
  return rows;
}

async function outagesAndDisks({ size, wanted, under }: Siege): Promise<Row[]> {
  const rows: Row[] = [];
  if (wanted('R3')) {
    const what = 'Postgres: sessions ended 4/s, crash every 7 s';
    rows.push(plainRow('R3', what, await under('R3', what, databaseCrashes(size.crashMs))));
    const frozen = `Postgres frozen ${size.freezeMs / 1_000} s`;
    rows.push(outageRow(frozen, await under('R3', frozen, databaseFreeze(size.freezeMs))));
    const full = 'Postgres answers disk full';
    rows.push(plainRow('R3', full, await under('R3', full, databaseFull(size.fullMs))));
  }
  for (const code of wanted('R13') ? DISK_ERRORS : []) {
    const unreadyMs: number[] = [];
    const outcome = await under('R13', `journal ${code}`, journalDisk(code, unreadyMs));
    rows.push(diskRow(code, outcome, unreadyMs));
  }
  return rows;
}

async function exactRow({
  site,
  random,
  size,
  progress,
}: Pick<Siege, 'site' | 'random' | 'size' | 'progress'>): Promise<Row> {
  progress('R7  money for exactly N calls …');
  const { rounds, calls, falseAccepts, falseRejects, leftOver, errors } = await exactness(
    site.cluster.database.sql,
    random,
    size.rounds,
  );
  return {
    name: 'R7',
    attack: 'money for exactly N calls, 64–1,000 callers, 1–8 instances',
    size: `${rounds} rounds, ${calls} calls`,
    result: `false accepts ${falseAccepts}, false rejects ${falseRejects}, a call's money left over ${leftOver}, errors ${[errors.length, ...errors.slice(0, 1)].join(': ')}`,
    good: falseAccepts + falseRejects + leftOver + errors.length === 0,
  };
}

async function mutationRow(progress: Progress): Promise<Row> {
  const { killed, of, alive } = await killMutants(progress);
  return {
    name: 'R8',
    attack: 'mutants of the rules of money',
    size: `${of} mutants`,
    result: `killed ${[`${killed} of ${of}`, ...alive].join(', alive: ')}`,
    good: killed === of,
  };
}

function checksRow(outcomes: readonly Outcome[], last: readonly (readonly Violation[])[]): Row {
  const found = [
    ...outcomes.flatMap(({ verdict }) => verdict.unbalanced),
    ...last.flat().map(({ check, subject }) => `${check}: ${subject}`),
  ];
  return {
    name: 'R14',
    attack: 'db/checks.sql after every attack',
    size: `${outcomes.length + last.length} times`,
    result: found.length === 0 ? '0 rows' : found.slice(0, 3).join('; '),
    good: found.length === 0,
  };
}
