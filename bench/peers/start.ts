/** Starts a peer alone on the measured core, as our own processes are, and waits until it passes a call on to the worker. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { treeCpuUs } from '../cpu.ts';
import type { Target } from '../measure.ts';
import { placed } from '../processes.ts';
import { quickWorkloads } from '../workloads.ts';
import type { Run, Setup } from './peer.ts';

/** Python needs half a minute, on a busy machine more. */
const START_WAIT_MS = 120_000;
const POLL_MS = 200;
const CALL_WAIT_MS = 5_000;
const LOG_CHARACTERS = 300;

export interface StartedPeer {
  readonly target: Target;
  stop(): Promise<void>;
}

export interface Where {
  readonly program: string;
  readonly directory: string;
  readonly workerUrl: string;
}

/** Throws, with the end of what it printed, when it does not serve in time. */
export async function startPeer(setup: Setup, where: Where): Promise<StartedPeer> {
  const [port, adminPort] = await freePorts();
  const { directory } = where;
  const run = setup.run({ ...where, port, adminPort });
  await mkdir(directory, { recursive: true });
  for (const [name, text] of Object.entries(run.files ?? {})) await writeFile(join(directory, name), text);
  const child = await begin(run, directory);
  const stop = () => end(child);
  try {
    const target = await serving(run, child, `http://127.0.0.1:${port}`);
    return { target, stop };
  } catch (error) {
    await stop();
    const log = await readFile(join(directory, 'log'), 'utf8').catch(() => '');
    throw new Error(
      `${error instanceof Error ? error.message : String(error)} ${log.trim().slice(-LOG_CHARACTERS)}`.trim(),
    );
  }
}

/** With nothing of our environment but the way to its tools. */
async function begin({ command, env = {} }: Run, directory: string): Promise<ChildProcess> {
  const log = await open(join(directory, 'log'), 'w');
  const [program, args] = placed('measured', command);
  const child = spawn(program, args, {
    cwd: directory,
    env: { PATH: process.env.PATH, HOME: directory, ...env },
    stdio: ['ignore', log.fd, log.fd],
  });
  child.on('error', () => {});
  process.once('exit', () => child.kill('SIGKILL'));
  await log.close();
  return child;
}

async function serving(run: Run, child: ChildProcess, url: string): Promise<Target> {
  const endMs = performance.now() + START_WAIT_MS;
  let keys = run.keys ?? [];
  let why = 'it did not answer in time.';
  while (performance.now() < endMs) {
    if (child.pid === undefined || child.exitCode !== null) throw new Error('it ended at its start.');
    try {
      if (run.mintKey !== undefined && keys.length === 0) keys = [await run.mintKey()];
      const used = async () => ({ cpuUs: child.pid === undefined ? null : await treeCpuUs(child.pid) });
      const target = { child: { url, used }, keys, headers: run.headers ?? {}, money: false, receipts: false };
      await answers(target);
      return target;
    } catch (error) {
      why = `it did not serve in time: ${error instanceof Error ? error.message : String(error)}.`;
    }
    await sleep(POLL_MS);
  }
  throw new Error(why);
}

/** Throws unless a whole call is answered. */
export async function answers({ child, keys, headers = {}, modelPrefix = '' }: Target): Promise<void> {
  const response = await fetch(`${child.url}/v1/chat/completions`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(keys[0] === undefined ? {} : { authorization: `Bearer ${keys[0]}` }),
      ...headers,
    },
    body: (quickWorkloads[0]?.body ?? '').replace('"model":"', `"model":"${modelPrefix}`),
    signal: AbortSignal.timeout(CALL_WAIT_MS),
  });
  if (response.status !== 200) throw new Error(`HTTP ${response.status}`);
  await response.arrayBuffer();
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const waiting = sleep(CALL_WAIT_MS, false, { ref: false });
  if ((await Promise.race([ended, waiting])) === false) child.kill('SIGKILL');
  await ended;
}

async function freePorts(): Promise<[number, number]> {
  const servers = [createServer(), createServer()] as const;
  const ports = await Promise.all(
    servers.map(async (server) => {
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const address = server.address();
      return address === null || typeof address === 'string' ? 0 : address.port;
    }),
  );
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return [ports[0] ?? 0, ports[1] ?? 0];
}
