import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

const TAIL_LINES = 30;
const POLL_MS = 50;

export interface GroupOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Everything the processes say is kept here. */
  readonly logFile: string;
  readonly onLine?: (line: string) => void;
}

/** A command and everything that it starts, in a process group of its own, so that nothing of it can be left behind. */
export interface ProcessGroup {
  readonly pid: number;
  /** Exit code of the first process; null when a signal ended it. */
  readonly exited: Promise<number | null>;
  /** The last lines that the group said, for error messages. */
  tail(): string;
  /** Asks the group to end, and after `graceMs` ends it. Resolves when its first process is gone. */
  stop(graceMs: number): Promise<void>;
}

/** Starts `command` as the leader of a new process group. Rejects when it cannot be started. */
export async function startGroup(command: string, args: string[], options: GroupOptions): Promise<ProcessGroup> {
  const child = spawn(command, args, {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
  });
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  await once(child, 'spawn');
  const pid = child.pid ?? 0;
  const tail = keepLines(child, options);

  // The last resort when this process ends without stop(): an orphaned vLLM would hold gigabytes.
  const killAtExit = () => signalGroup(pid, 'SIGKILL');
  process.once('exit', killAtExit);

  const stop = async (graceMs: number) => {
    signalGroup(pid, 'SIGTERM');
    const deadline = performance.now() + graceMs;
    while (groupLives(pid) && performance.now() < deadline) await sleep(POLL_MS);
    signalGroup(pid, 'SIGKILL');
    await exited;
    process.off('exit', killAtExit);
  };
  return { pid, exited, tail: () => tail.join('\n'), stop };
}

/** Copies both outputs to the log file and keeps the last lines. */
function keepLines(child: ChildProcess, { logFile, onLine }: GroupOptions): string[] {
  const output = new PassThrough();
  child.stdout?.pipe(output, { end: false });
  child.stderr?.pipe(output, { end: false });
  child.once('close', () => output.end());
  output.pipe(createWriteStream(logFile, { flags: 'a' }));
  const tail: string[] = [];
  createInterface({ input: output }).on('line', (line) => {
    tail.push(line);
    if (tail.length > TAIL_LINES) tail.shift();
    onLine?.(line);
  });
  return tail;
}

function signalGroup(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-pid, signal);
  } catch {
    return false; // no process of the group is left
  }
}

const groupLives = (pid: number) => signalGroup(pid, 0);
