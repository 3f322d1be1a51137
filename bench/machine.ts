/** What results are measured on, and where they are kept: bench/results/. */
import { execFileSync } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';

const directory = new URL('./results/', import.meta.url);

export function machine(): string {
  const model = cpus()[0]?.model.trim() ?? 'unknown CPU';
  return `${cpus().length} × ${model}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.versions.node}`;
}

export function commit(): string {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty'], { encoding: 'utf8' }).trim();
  } catch {
    return 'unknown';
  }
}

/** Keeps a result as `<name>.json`, with machine, commit and time. */
export function storeResult(name: string, result: object): Promise<void> {
  const report = { machine: machine(), commit: commit(), at: new Date().toISOString(), ...result };
  return storeText(`${name}.json`, `${JSON.stringify(report, null, 2)}\n`);
}

/** What was kept under a name; null when nothing was. */
export async function storedResult(name: string): Promise<unknown> {
  return JSON.parse(await readFile(new URL(`${name}.json`, directory), 'utf8').catch(() => 'null'));
}

export async function storeText(file: string, text: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  await writeFile(new URL(file, directory), text);
}
