/** The table of a run: on the screen, and kept in bench/results/ with the machine and the commit. */
import { renderTable } from '../../gateway/table.ts';
import { commit, machine, storedResult, storeText } from '../machine.ts';

export interface Row {
  /** R1 to R15, as ARCHITECTURE.md and the README name them. */
  readonly name: string;
  readonly attack: string;
  /** What was done, in figures. */
  readonly size: string;
  /** What must be 0, or its bound, and is. */
  readonly result: string;
  readonly good: boolean;
}

export function printTable(rows: readonly Row[]): void {
  const cells = rows.map(({ name, attack, size, result, good }) => ({
    '': good ? '✓' : '✗',
    test: name,
    attack,
    size,
    result,
  }));
  process.stdout.write(`\n${renderTable(cells)}\n`);
}

interface Run {
  readonly seed: number;
  readonly nightly: boolean;
  /** Only some rows were wanted. */
  readonly partial: boolean;
}

/** A row with the run that it is of. */
type Stored = Row & { readonly seed: number; readonly commit: string; readonly at: string };

/**
 * Keeps the rows of a run, each in the place of an earlier run's. What a partial run says of all attacks together is kept only when it is
 * bad, as it says less than the whole run before.
 */
export async function store(rows: readonly Row[], { seed, nightly, partial }: Run): Promise<void> {
  const name = `faults${nightly ? '-nightly' : ''}`;
  const { rows: earlier } = ((await storedResult(name)) ?? { rows: [] }) as { rows: Stored[] };
  const told = rows.filter(({ name: row, good }) => !partial || !good || !OF_ALL_ATTACKS.has(row));
  const same = (one: Row) => (other: Row) => one.name === other.name && one.attack === other.attack;
  const kept = partial ? earlier.filter((row) => !told.some(same(row))) : [];
  const run = { seed, commit: commit(), at: new Date().toISOString() };
  const all = [...kept, ...told.map((row) => ({ ...row, ...run }))].sort((a, b) => number(a) - number(b));
  await storeText(`${name}.json`, `${JSON.stringify({ machine: machine(), rows: all }, null, 2)}\n`);
}

/** R2 and R14. */
const OF_ALL_ATTACKS: ReadonlySet<string> = new Set(['R2', 'R14']);

function number({ name }: Row): number {
  return parseInt(name.slice(1), 10);
}
