import { execFile } from 'node:child_process';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

describe('npm run vllm', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'faregate-vllm-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  const run = (args: string[], env: Record<string, string> = {}) =>
    new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) => {
      const options = { env: { ...process.env, FAREGATE_VLLM_HOME: folder, ...env } };
      const child = execFile(
        process.execPath,
        [join(import.meta.dirname, 'main.ts'), ...args],
        options,
        (_, stdout, stderr) => resolve({ code: child.exitCode, stdout, stderr }),
      );
    });

  it('explains itself', async () => {
    const { code, stdout } = await run(['--help']);
    expect(code).toBe(0);
    expect(stdout).toContain('FAREGATE_VLLM_HOME');
  });

  it.each([[['--nope']], [['--port', 'web']]])('refuses %j as bad usage', async (args) => {
    const { code, stdout, stderr } = await run(args);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain('--port N');
  });

  it.runIf(process.platform === 'linux')('refuses a Python that is too old and says how to name another', async () => {
    const python = join(folder, 'old-python');
    await writeFile(python, '#!/bin/sh\necho 3 9\n');
    await chmod(python, 0o755);
    const { code, stdout, stderr } = await run([], { FAREGATE_VLLM_PYTHON: python });
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toContain('3.10 or later');
    expect(stderr).toContain('FAREGATE_VLLM_PYTHON');
    expect(stderr).toContain('is 3.9');
  });
});
