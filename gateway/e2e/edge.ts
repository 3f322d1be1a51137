/** The Workers entry on Cloudflare's own runtime, as `wrangler dev` runs it, for tests. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const wrangler = join(dirname(createRequire(import.meta.url).resolve('wrangler/package.json')), 'bin', 'wrangler.js');

export interface Edge {
  readonly url: string;
  stop(): Promise<void>;
}

/** Starts it on a free port before a Postgres, with these variables, and resolves when it listens. */
export async function startEdge(databaseUrl: string, variables: Readonly<Record<string, string>> = {}): Promise<Edge> {
  const scratch = await mkdtemp(join(tmpdir(), 'faregate-edge-'));
  const options = ['--ip', '127.0.0.1', '--port', '0', '--inspector-port', '0', '--persist-to', scratch];
  for (const [name, value] of Object.entries(variables)) options.push('--var', `${name}:${value}`);
  const child = spawn(process.execPath, [wrangler, 'dev', ...options, '--show-interactive-dev-session=false'], {
    cwd: root,
    env: {
      ...process.env,
      CI: '1',
      WRANGLER_LOG_PATH: scratch,
      WRANGLER_SEND_METRICS: 'false',
      CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_HYPERDRIVE: databaseUrl,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own: the runtime is a grandchild.
    detached: true,
  });
  const ended = new Promise((resolve) => child.once('close', resolve));
  let said = '';
  child.stderr.on('data', (chunk) => {
    said += chunk;
  });
  const stop = async () => {
    if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGTERM');
    await ended;
    await rm(scratch, { recursive: true, force: true });
  };
  for await (const line of createInterface({ input: child.stdout })) {
    said += `${line}\n`;
    const url = /Ready on (http:\S+)/.exec(line)?.[1];
    if (url === undefined) continue;
    child.stdout.resume();
    return { url, stop };
  }
  await stop();
  throw new Error(`wrangler dev ended before it was ready:\n${said}`);
}
