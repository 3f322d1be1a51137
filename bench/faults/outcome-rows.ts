/** What the attacks on a site came to, as rows of the table. */
import type { Outcome } from './attack.ts';
import type { Site } from './site.ts';
import type { Row } from './table.ts';

const UNREADY_MS_MAX = 1_000;
const SERVED_PPM_MIN = 999_000;

export function killRow(outcome: Outcome, { gateways }: Site): Row {
  const readyMs = gateways.flatMap((gateway) => gateway.readyMs).sort((a, b) => a - b);
  const median = readyMs[readyMs.length >> 1] ?? 0;
  const row = plainRow('R1', 'kill -9 at random and at 9 failpoints', outcome);
  return {
    ...row,
    size: `${outcome.kills} kills, ${row.size}, ready again in ${(median / 1_000).toFixed(1)} s (median)`,
  };
}

export function plainRow(name: string, what: string, outcome: Outcome): Row {
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

export function outageRow(what: string, outcome: Outcome): Row {
  const { good, refused } = outcome.seen.funded;
  const servedPpm = Math.floor((good * 1_000_000) / Math.max(1, good + refused));
  const row = plainRow('R3', what, outcome);
  const served = `served ${(servedPpm / 10_000).toFixed(2)} % of funded calls`;
  return { ...row, result: `${row.result}, ${served}`, good: row.good && servedPpm >= SERVED_PPM_MIN };
}

export function networkRow(outcome: Outcome): Row {
  const struck = [...outcome.struck].filter(([, count]) => count > 0).map(([fault, count]) => `${count} ${fault}`);
  const row = plainRow('R4', 'network to Postgres', outcome);
  return { ...row, size: `${row.size}; ${struck.join(', ')}` };
}

export function diskRow(code: string, outcome: Outcome, unreadyMs: readonly number[]): Row {
  const slowest = Math.round(Math.max(...unreadyMs));
  const row = plainRow('R13', `journal disk ${code}, then kill -9`, outcome);
  return { ...row, result: `${row.result}, unready after ${slowest} ms`, good: row.good && slowest <= UNREADY_MS_MAX };
}

export function readerRow(outcomes: readonly Outcome[]): Row {
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

function told({ seen }: Outcome): string {
  const refused = [...seen.refused].map(([code, count]) => `, ${count} ${code}`).join('');
  return `${seen.acknowledged.size} acknowledged, ${seen.cut} cut off${refused}`;
}
