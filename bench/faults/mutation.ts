/** Lets every mutant loose on the test that must kill it. */
import { readFile } from 'node:fs/promises';
import { mutants } from './mutants.ts';
import { runTests } from './test-run.ts';

export interface Mutation {
  readonly killed: number;
  readonly of: number;
  /** Names of those that lived. */
  readonly alive: readonly string[];
}

const root = new URL('../../', import.meta.url);

export async function killMutants(progress: (text: string) => void): Promise<Mutation> {
  const alive: string[] = [];
  for (const [index, { name, file, find, killer }] of mutants.entries()) {
    progress(`R8  ${name} …`);
    const source = await readFile(new URL(file, root), 'utf8');
    if (source.split(find).length !== 2) throw new Error(`the text of the mutant "${name}" is not once in ${file}`);
    const args = [killer.file, '-t', escaped(killer.title), '--config', 'bench/faults/mutants.config.ts'];
    const ends = await runTests(args, { FAREGATE_MUTANT: String(index) });
    if (ends.get(killer.title)?.status !== 'failed') alive.push(name);
  }
  return { killed: mutants.length - alive.length, of: mutants.length, alive };
}

/** A title as the pattern that only it matches. */
function escaped(title: string): string {
  return `${title.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`;
}
