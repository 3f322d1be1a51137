import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { mutants } from './mutants.ts';

test.each(mutants)(
  'the rule that "$name" breaks stands in the code once, where its mutant looks for it',
  async (mutant) => {
    const source = await readFile(new URL(`../../${mutant.file}`, import.meta.url), 'utf8');
    expect(source.split(mutant.find)).toHaveLength(2);
  },
);
