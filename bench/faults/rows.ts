/** The rows of the table, in order: what is attacked how hard, and which figures must come out. */
import { violations } from '../../db/checks.ts';
import type { Random } from '../../workers/simulator/random.ts';
import { attack, type Chaos, type Outcome } from './attack.ts';
import { badNetwork, databaseCrashes, databaseFreeze, databaseFull, journalDisk, kills } from './attacks.ts';
import { exactness } from './exact.ts';
import { killMutants } from './mutation.ts';
import { replayRow } from './replay.ts';
import { openSite, type Site } from './site.ts';
import type { Row } from './table.ts';
import { tested, testedRow } from './tested.ts';

export type Progress = (text: string) => void;

interface Run {
  readonly seed: number;
  readonly random: Random;
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
const UNREADY_MS_MAX = 1_000;
const SERVED_PPM_MIN = 999_000;

export async function runRows(run: Run): Promise<Row[]> {
  const site = await openSite();
  try {
    return await attackSite(site, run);
  } finally {
    await site.close();
  }
}

async function attackSite(site: Site, { random, nightly, only, progress }: Run): Promise<Row[]> {
  const size = SIZES[nightly ? 'nightly' : 'pr'];
  const rows: Row[] = [];
  const outcomes: Outcome[] = [];
  const wanted = (name: string) => only === null || only.includes(name);
  const under = async (name: string, what: string, chaos: Chaos): Promise<Outcome> => {
    progress(`${name}  ${what} …`);
    const outcome = await attack(site, `${name} ${what}`, random, chaos);
    outcomes.push(outcome);
    return outcome;
  };
  if (wanted('R1')) rows.push(killRow(await under('R1', 'kill -9', kills(random, size.kills)), site));
  if (wanted('R3')) {
    const what = 'Postgres: sessions ended 4/s, crash every 7 s';
    rows.push(plainRow('R3', what, await under('R3', what, databaseCrashes(size.crashMs))));
    const frozen = `Postgres frozen ${size.freezeMs / 1_000} s`;
    rows.push(outageRow(frozen, await under('R3', frozen, databaseFreeze(size.freezeMs))));
    const full = 'Postgres answers disk full';
    rows.push(plainRow('R3', full, await under('R3', full, databaseFull(size.fullMs))));
  }
  if (wanted('R4')) rows.push(networkRow(await under('R4', 'bad network', badNetwork(random, size.ambiguous))));
  if (wanted('R13')) {
    for (const code of DISK_ERRORS) {
      const unreadyMs: number[] = [];
      const outcome = await under('R13', `journal ${code}`, journalDisk(code, unreadyMs));
      rows.push(diskRow(code, outcome, unreadyMs));
    }
  }
  // Last: their calls are no gateway's, so that the audits must not meet them.
  if (wanted('R1')) {
    progress('R1  start over a long journal …');
    rows.push(await replayRow(site));
  }
  if (wanted('R7')) {
    progress('R7  money for exactly N calls …');
    const { rounds, calls, falseAccepts, falseRejects, leftOver, errors } = await exactness(
      site.cluster.database.sql,
      random,
      size.rounds,
    );
    rows.push({
      name: 'R7',
      attack: 'money for exactly N calls, 64–1,000 callers, 1–8 instances',
      size: `${rounds} rounds, ${calls} calls`,
      result: `false accepts ${falseAccepts}, false rejects ${falseRejects}, a call's money left over ${leftOver}, errors ${[errors.length, ...errors.slice(0, 1)].join(': ')}`,
      good: falseAccepts + falseRejects + leftOver + errors.length === 0,
    });
  }
  const tests = tested.filter(({ name }) => wanted(name));
  for (const { name, attack: what } of tests) progress(`${name}  ${what} …`);
  rows.push(...(await Promise.all(tests.map((test) => testedRow(test, nightly)))));
  if (wanted('R8')) rows.push(await mutationRow(progress));
  rows.push(...(outcomes.length > 0 ? [readerRow(outcomes)] : []), await checksRow(site, outcomes));
  return rows.sort((a, b) => Number(a.name.slice(1)) - Number(b.name.slice(1)));
}

function killRow(outcome: Outcome, { gateways }: Site): Row {
  const readyMs = gateways.flatMap((gateway) => gateway.readyMs).sort((a, b) => a - b);
  const median = readyMs[readyMs.length >> 1] ?? 0;
  const row = plainRow('R1', 'kill -9 at random and at 9 failpoints', outcome);
  return {
    ...row,
    size: `${outcome.kills} kills, ${row.size}, ready again in ${(median / 1_000).toFixed(1)} s (median)`,
  };
}

function plainRow(name: string, what: string, outcome: Outcome): Row {
  const { seen, verdict, deaths, clean } = outcome;
  const inside = seen.refused.get('internal_error') ?? 0;
  const wrong = [
    `lost ${verdict.lost}`,
    `double ${verdict.doubled}`,
    `overcharged ${verdict.overcharged.length}`,
    `negative ${verdict.negative}`,
    ...(inside === 0 ? [] : [`internal errors ${inside}`]),
    ...deaths,
    ...verdict.overcharged.slice(0, 3),
  ];
  return { name, attack: what, size: told(outcome), result: wrong.join(', '), good: clean && inside === 0 };
}

function outageRow(what: string, outcome: Outcome): Row {
  const { good, refused } = outcome.seen.funded;
  const servedPpm = Math.floor((good * 1_000_000) / Math.max(1, good + refused));
  const row = plainRow('R3', what, outcome);
  const served = `served ${(servedPpm / 10_000).toFixed(2)} % of funded calls`;
  return { ...row, result: `${row.result}, ${served}`, good: row.good && servedPpm >= SERVED_PPM_MIN };
}

function networkRow(outcome: Outcome): Row {
  const struck = [...outcome.struck].filter(([, count]) => count > 0).map(([fault, count]) => `${count} ${fault}`);
  const row = plainRow('R4', 'network to Postgres', outcome);
  return { ...row, size: `${row.size}; ${struck.join(', ')}` };
}

function diskRow(code: string, outcome: Outcome, unreadyMs: readonly number[]): Row {
  const slowest = Math.round(Math.max(...unreadyMs));
  const row = plainRow('R13', `journal disk ${code}, then kill -9`, outcome);
  return { ...row, result: `${row.result}, unready after ${slowest} ms`, good: row.good && slowest <= UNREADY_MS_MAX };
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

function readerRow(outcomes: readonly Outcome[]): Row {
  const sum = (of: (outcome: Outcome) => number) => outcomes.reduce((total, outcome) => total + of(outcome), 0);
  const wrong = sum(({ readings }) => readings.wrongTotals);
  const negatives = sum(({ readings }) => readings.negatives);
  return {
    name: 'R2',
    attack: 'all balances read every 50 ms during all of this',
    size: `${sum(({ readings }) => readings.reads)} reads`,
    result: `total not constant ${wrong}, negative ${negatives}`,
    good: wrong + negatives === 0,
  };
}

async function checksRow(site: Site, outcomes: readonly Outcome[]): Promise<Row> {
  const found = [
    ...outcomes.flatMap(({ verdict }) => verdict.unbalanced),
    ...(await violations(site.cluster.database.sql)).map(({ check, subject }) => `${check}: ${subject}`),
  ];
  return {
    name: 'R14',
    attack: 'db/checks.sql after every attack',
    size: `${outcomes.length + 1} times`,
    result: found.length === 0 ? '0 rows' : found.slice(0, 3).join('; '),
    good: found.length === 0,
  };
}

function told({ seen }: Outcome): string {
  const refused = [...seen.refused].map(([code, count]) => `, ${count} ${code}`).join('');
  return `${seen.acknowledged.size} acknowledged, ${seen.cut} cut off${refused}`;
}
