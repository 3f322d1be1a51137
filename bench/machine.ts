/** What a stored result was measured on. */
import { execFileSync } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';

export function machine(): string {
  const model = cpus()[0]?.model.trim() ?? 'unknown CPU';
  return `${cpus().length} × ${model}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.versions.node}`;
}

function commit(): string {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty'], { encoding: 'utf8' }).trim();
  } catch {
    return 'unknown';
  }
}

/** Keeps a result as `bench/results/<name>.json`, with machine, commit and time. */
export async function storeResult(name: string, result: object): Promise<void> {
  const directory = new URL('./results/', import.meta.url);
  const report = { machine: machine(), commit: commit(), at: new Date().toISOString(), ...result };
  await mkdir(directory, { recursive: true });
  await writeFile(new URL(`${name}.json`, directory), `${JSON.stringify(report, null, 2)}\n`);
}
