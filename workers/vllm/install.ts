import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, rm, statfs, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type { Progress } from '../progress.ts';
import { type ProcessGroup, startGroup } from './process-group.ts';
import { trainingTexts } from './training-texts.ts';

const VLLM_VERSION = '0.32.0';
const TORCH_VERSION = '2.13.0';
const OLDEST_PYTHON = [3, 10] as const;
const DISK_NEEDED_GB = 10;
const STOP_GRACE_MS = 2_000;

const here = import.meta.dirname;
const askVersion = 'import sys; print(*sys.version_info[:2])';
const run = promisify(execFile);

/** Where everything of vLLM lives; nothing outside it is written. */
export interface VllmHome {
  readonly folder: string;
  /** Folder of the installed commands. */
  readonly bin: string;
  /** Folder of the tiny model. */
  readonly model: string;
}

/** `FAREGATE_VLLM_HOME`, or `.vllm` in the checkout, which git ignores. */
export function vllmHome(): VllmHome {
  const folder = resolve(process.env.FAREGATE_VLLM_HOME ?? join(here, '../../.vllm'));
  return { folder, bin: join(folder, 'venv/bin'), model: join(folder, 'model') };
}

/**
 * Installs vLLM for CPU and makes the tiny model, unless that is done already. About three minutes and 6 GB.
 * Throws an `Error` that says what to do when Python, the disk or the platform does not suffice.
 */
export async function install(home: VllmHome, progress: Progress, signal?: AbortSignal): Promise<void> {
  await mkdir(home.folder, { recursive: true });
  await oncePer(join(home.folder, `vllm-${VLLM_VERSION}.installed`), () => installVllm(home, progress, signal));
  await oncePer(join(home.folder, 'model.made'), () => makeModel(home, progress, signal));
}

/** The marker is written last, so an interrupted attempt starts over. */
async function oncePer(marker: string, work: () => Promise<void>): Promise<void> {
  if (existsSync(marker)) return;
  await work();
  await writeFile(marker, '');
}

async function installVllm(home: VllmHome, progress: Progress, signal?: AbortSignal): Promise<void> {
  progress.step('checking Python and disk');
  const python = await findPython();
  const venv = join(home.folder, 'venv');
  await rm(venv, { recursive: true, force: true });
  await requireDisk(home.folder);
  progress.step('making a virtual environment');
  await command(home, python, ['-m', 'venv', venv], progress, signal).catch((error: Error) => {
    throw new Error(`${error.message}\nOn Debian and Ubuntu the module comes with: apt install python3-venv`);
  });
  await command(
    home,
    join(home.bin, 'python'),
    [join(here, 'install.py'), VLLM_VERSION, TORCH_VERSION],
    progress,
    signal,
  );
}

async function makeModel(home: VllmHome, progress: Progress, signal?: AbortSignal): Promise<void> {
  progress.step('making a tiny model');
  const script = join(here, 'make_model.py');
  await command(home, join(home.bin, 'python'), [script, home.model, ...(await trainingTexts())], progress, signal);
}

/** Runs one command to its end; its `step:` lines and news go to `progress`, everything to `install.log`. */
async function command(home: VllmHome, program: string, args: string[], progress: Progress, signal?: AbortSignal) {
  signal?.throwIfAborted();
  const logFile = join(home.folder, 'install.log');
  const onLine = (line: string) => {
    if (line.startsWith('step: ')) progress.step(line.slice('step: '.length));
    else progress.detail(line.trim());
  };
  const temporary = join(home.folder, 'tmp'); // wheels of gigabytes do not fit into a small /tmp
  await mkdir(temporary, { recursive: true });
  const group = await startGroup(program, args, { logFile, onLine, env: { TMPDIR: temporary } });
  const code = await exitOrAbort(group, signal);
  await rm(temporary, { recursive: true, force: true });
  signal?.throwIfAborted();
  if (code !== 0) throw new Error(`${program} ended with ${code}; the whole log is ${logFile}\n${group.tail()}`);
}

async function exitOrAbort(group: ProcessGroup, signal?: AbortSignal): Promise<number | null> {
  const stop = () => void group.stop(STOP_GRACE_MS);
  signal?.addEventListener('abort', stop, { once: true });
  const code = await group.exited;
  signal?.removeEventListener('abort', stop);
  await group.stop(STOP_GRACE_MS);
  return code;
}

/** The Python to build on: `FAREGATE_VLLM_PYTHON` or the system's, at least 3.10. */
async function findPython(): Promise<string> {
  if (process.platform !== 'linux') throw new Error('vLLM for CPU is published for Linux only (glibc 2.28 or later).');
  const python = process.env.FAREGATE_VLLM_PYTHON ?? 'python3';
  const wanted = `vLLM needs Python ${OLDEST_PYTHON.join('.')} or later; name one with FAREGATE_VLLM_PYTHON=/path/to/python3.`;
  const answer = await run(python, ['-c', askVersion]).catch(() => {
    throw new Error(`${wanted} ${python} does not run.`);
  });
  const [major = 0, minor = 0] = answer.stdout.trim().split(' ').map(Number);
  if (major < OLDEST_PYTHON[0] || (major === OLDEST_PYTHON[0] && minor < OLDEST_PYTHON[1])) {
    throw new Error(`${wanted} ${python} is ${major}.${minor}.`);
  }
  return python;
}

async function requireDisk(folder: string): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const freeGb = Math.floor((bavail * bsize) / 1e9);
  if (freeGb >= DISK_NEEDED_GB) return;
  throw new Error(
    `Installing vLLM needs ${DISK_NEEDED_GB} GB of disk at ${folder}, ${freeGb} GB are free. Another place: FAREGATE_VLLM_HOME=/path.`,
  );
}
