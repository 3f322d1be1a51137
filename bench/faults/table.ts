/** The table of a run: on the screen, and kept in bench/results/ with the machine and the commit. */
import { renderTable } from '../../gateway/table.ts';
import { storeResult } from '../machine.ts';

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

export function store(rows: readonly Row[], run: { seed: number; nightly: boolean }): Promise<void> {
  return storeResult(`faults${run.nightly ? '-nightly' : ''}`, { ...run, rows });
}
