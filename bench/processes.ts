/** The processes of a bench: each measured one alone on the first core, everything else on the others, where the system can pin. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Used } from './measured.ts';

/** What can be loaded and measured. */
export interface Measured {
  readonly url: string;
  /** CPU since its start; null where nobody can tell. */
  used(): Promise<{ readonly cpuUs: number | null }>;
}

export interface Child extends Measured {
  readonly process: ChildProcess;
  /** What the process has used since its start; only of one that was started as measured. */
  used(): Promise<Used>;
  stop(): Promise<void>;
}

export interface Start {
  /** Below the repository: `bench/floor.ts`. */
  readonly file: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** `others` is where the bench itself runs, and what it starts. */
  readonly cores: 'measured' | 'others' | 'all';
}

const root = new URL('../', import.meta.url);
const measuredFile = fileURLToPath(new URL('bench/measured.ts', root));

/** Whether processes can be bound to cores here: then CPU and latency of one are not disturbed by the others'. */
export const pins = availableParallelism() > 1 && spawnSync('taskset', ['--version']).status === 0;

/** Keeps this process, and with it Postgres and all that it starts otherwise, off the core of the measured ones. */
export function leaveMeasuredCore(): void {
  if (pins) spawnSync('taskset', ['-cp', `1-${availableParallelism() - 1}`, String(process.pid)]);
}

/** Starts a process of ours; resolves when it has said that it is ready. */
export async function start({ file, args = [], env = {}, cores }: Start): Promise<Child> {
  const path = fileURLToPath(new URL(file, root));
  const [program, programArgs] = placed(cores, [process.execPath, '--import', measuredFile, path, ...args]);
  const child = spawn(program, programArgs, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  const url = await Promise.race([readyUrl(child), failure(child, file)]);
  return {
    url,
    process: child,
    used: async () => {
      const answer = once(child, 'message');
      child.send('used');
      const [used] = (await answer) as [Used];
      return used;
    },
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const end = once(child, 'exit');
      child.kill('SIGTERM');
      await end;
    },
  };
}

/** Starts a process that is spoken to over its channel, and is ready at once. */
export function startHelper(file: string): ChildProcess {
  return spawn(process.execPath, [fileURLToPath(new URL(file, root))], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
}

/** The command as it is to be spawned. */
export function placed(cores: Start['cores'], [program = '', ...args]: readonly string[]): [string, string[]] {
  if (!pins || cores === 'others') return [program, args];
  const list = cores === 'measured' ? '0' : `0-${availableParallelism() - 1}`;
  return ['taskset', ['-c', list, program, ...args]];
}

async function readyUrl(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new Error('no output');
  for await (const line of createInterface({ input: child.stdout })) {
    const { event, url } = JSON.parse(line) as { event: string; url: string };
    if (event === 'ready') return url;
  }
  return new Promise(() => {});
}

async function failure(child: ChildProcess, file: string): Promise<never> {
  const [code] = await once(child, 'exit');
  throw new Error(`${file} ended with ${String(code)} before it was ready`);
}
