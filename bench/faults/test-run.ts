/** Runs some tests of the repository in a process of its own and answers how each ended. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = fileURLToPath(new URL('../..', import.meta.url));
const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');

interface Report {
  readonly testResults: readonly {
    readonly assertionResults: readonly {
      readonly title: string;
      readonly status: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
}

export interface TestEnd {
  readonly status: string;
  readonly message: string;
}

/** By title, of those that ran. */
export async function runTests(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<ReadonlyMap<string, TestEnd>> {
  const directory = await mkdtemp(join(tmpdir(), 'faregate-tests-'));
  const file = join(directory, 'report.json');
  const all = [vitest, 'run', '--reporter=json', `--outputFile=${file}`, ...args];
  const run = promisify(execFile)(process.execPath, all, { cwd: root, env: { ...process.env, ...env } });
  const endToo = () => void run.child.kill();
  process.once('exit', endToo);
  // Failing tests make it exit with 1: the report tells which.
  await run.catch(() => {});
  process.off('exit', endToo);
  const report = JSON.parse(await readFile(file, 'utf8')) as Report;
  await rm(directory, { recursive: true });
  return new Map(
    report.testResults
      .flatMap(({ assertionResults }) => assertionResults)
      .map(({ title, status, failureMessages }) => [title, { status, message: failureMessages.join('\n') }]),
  );
}
