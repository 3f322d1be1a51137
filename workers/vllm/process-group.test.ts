import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startGroup } from './process-group.ts';

/** Answers SIGTERM with a shrug, as a vLLM with a client does, and so does its child. */
const STUBBORN = 'trap "" TERM; sleep 300 & echo child $!; wait; wait; sleep 300';

/** Letter of the process's state; a zombie (Z) has ended and waits for its parent. */
const stateOf = (pid: number) =>
  readFile(`/proc/${pid}/stat`, 'utf8').then(
    (line) => line.slice(line.lastIndexOf(')') + 2)[0],
    () => 'gone',
  );

describe.runIf(process.platform === 'linux')('a process group', () => {
  let folder: string;
  const logFile = () => join(folder, 'group.log');
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'faregate-group-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('leaves no process behind when it is stopped, however stubborn its processes are', async () => {
    const group = await startGroup('sh', ['-c', STUBBORN], { logFile: logFile() });
    const child = await vi.waitFor(() => Number(/child (\d+)/.exec(group.tail())?.[1] ?? expect.fail('no child yet')));
    await group.stop(100);
    expect(await group.exited).toBeNull();
    for (const pid of [group.pid, child])
      await vi.waitFor(async () => expect(await stateOf(pid)).toMatch(/^(gone|Z)$/));
  });

  it('keeps what was said in the log and the end of it for messages', async () => {
    const group = await startGroup('sh', ['-c', 'seq 1 100; echo oops >&2; exit 3'], { logFile: logFile() });
    expect(await group.exited).toBe(3);
    await vi.waitFor(() => expect(group.tail()).toContain('oops'));
    expect(group.tail()).not.toMatch(/^1$/m);
    await vi.waitFor(async () => expect(await readFile(logFile(), 'utf8')).toContain('\n50\n'));
    await group.stop(0);
  });

  it('rejects when the command cannot be started', async () => {
    await expect(startGroup('/no/such/command', [], { logFile: logFile() })).rejects.toThrow('ENOENT');
  });
});
