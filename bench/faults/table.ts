/** The table of a run: on the screen, and kept in bench/results/ with the machine and the commit. */
import { execFileSync } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import { renderTable } from '../../gateway/table.ts';

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

const results = fileURLToPath(new URL('../results/', import.meta.url));

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

export async function store(rows: readonly Row[], run: { seed: number; nightly: boolean }): Promise<void> {
  const machine = {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
  };
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  const report = { ...run, at: new Date().toISOString(), commit, node: process.version, machine, rows };
  await mkdir(results, { recursive: true });
  await writeFile(`${results}faults${run.nightly ? '-nightly' : ''}.json`, `${JSON.stringify(report, null, 2)}\n`);
}
