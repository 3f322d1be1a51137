/** Lets every mutant loose on the test that must kill it. */
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { type Mutant, mutants } from './mutants.ts';
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
  let next = 0;
  const lane = async () => {
    for (let index = next++; index < mutants.length; index = next++) {
      const mutant = mutants[index];
      if (mutant === undefined) return;
      progress(`R8  ${mutant.name} …`);
      if (!(await isKilled(mutant, index))) alive.push(mutant.name);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, lane));
  return { killed: mutants.length - alive.length, of: mutants.length, alive };
}

async function isKilled({ name, file, find, killer }: Mutant, index: number): Promise<boolean> {
  const source = await readFile(new URL(file, root), 'utf8');
  if (source.split(find).length !== 2) throw new Error(`the text of the mutant "${name}" is not once in ${file}`);
  const args = [killer.file, '-t', escaped(killer.title), '--config', 'bench/faults/mutants.config.ts'];
  const ends = await runTests(args, { FAREGATE_MUTANT: String(index) });
  return ends.get(killer.title)?.status === 'failed';
}

/** A title as the pattern that only it matches. */
function escaped(title: string): string {
  return `${title.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`;
}
