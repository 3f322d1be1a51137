import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const cli = fileURLToPath(new URL('../cli.ts', import.meta.url));

test('the demo brings its own Postgres, workers and chain, shows every kind of call, and ends with books that balance', async () => {
  const home = await mkdtemp(join(tmpdir(), 'faregate-demo-'));
  const { DATABASE_URL: _, ...environment } = process.env;
  const env = { ...environment, FAREGATE_PORT: '0', FAREGATE_DATA_DIR: join(home, 'data') };
  const args = [cli, 'demo', '--once', '--wallet'];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { env, cwd: home });
  await rm(home, { recursive: true, force: true });
  expect(JSON.parse(stdout)).toMatchObject({ event: 'ready', url: expect.stringMatching(/^http:/) });
  for (const row of ['whole answer', 'streamed', 'caller leaves early', 'too poor', 'the rest goes home', 'payout to'])
    expect(stderr).toContain(row);
  expect(stderr).toContain('The books balance');
}, 120_000);
