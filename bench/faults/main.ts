/**
 * `npm run faults`: the ledger under attack, with processes of its own and a real Postgres. Prints one table and keeps it in
 * bench/results/. Exits 1 when any figure is wrong. `-- --seed N` replays a run's choices (not the scheduler's), `-- --nightly`
 * runs long, `-- --only R3` runs some rows and keeps them in the places of the last run's.
 */
import { parseArgs } from 'node:util';
import { type Progress, runRows } from './rows.ts';
import { printTable, store } from './table.ts';

const HELP = `npm run faults -- [options]

  --seed N      the seed of a run to repeat
  --nightly     the long sizes
  --only NAMES  some rows alone: R1,R3
`;

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    nightly: { type: 'boolean', default: false },
    only: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

// Whoever ends the harness ends all that it started.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

if (values.help) process.stdout.write(HELP);
else {
  const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 32));
  const only = values.only?.split(',') ?? null;
  process.stdout.write(`seed ${seed}${values.nightly ? ', nightly' : ''}\n`);
  const rows = await runRows({ seed, nightly: values.nightly, only, progress: progress() });
  printTable(rows);
  await store(rows, { seed, nightly: values.nightly, partial: only !== null });
  process.exitCode = rows.every(({ good }) => good) ? 0 : 1;
}

/** One moving line on a terminal, plain lines elsewhere. */
function progress(): Progress {
  const moving = process.stderr.isTTY;
  return (text) => process.stderr.write(moving ? `\r\x1b[2K${text}` : `${text}\n`);
}
