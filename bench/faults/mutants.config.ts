/** The build of one mutant: the usual tests, with one text of the source replaced as it is loaded. */
import { fileURLToPath } from 'node:url';
import { defineConfig, mergeConfig } from 'vitest/config';
import base from '../../vitest.config.ts';
import { mutants } from './mutants.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const mutant = mutants[Number(process.env.FAREGATE_MUTANT)];
const TEST_LIMIT_MS = 10_000;

export default defineConfig((env) =>
  mergeConfig(base(env), {
    root,
    // What another run has transformed is not this mutant.
    test: { testTimeout: TEST_LIMIT_MS, fsModuleCache: false },
    plugins: [
      {
        name: 'mutant',
        enforce: 'pre',
        transform: (code: string, id: string) =>
          mutant !== undefined && id === root + mutant.file ? code.replace(mutant.find, () => mutant.replace) : null,
      },
    ],
  }),
);
