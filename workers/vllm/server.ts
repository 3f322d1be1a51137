import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Progress, silent } from '../progress.ts';
import { install, type VllmHome, vllmHome } from './install.ts';
import { type ProcessGroup, startGroup } from './process-group.ts';

const HOST = '127.0.0.1';
const POLL_MS = 250;
const READY_WITHIN_MS = 300_000;
/** After SIGTERM vLLM may live on in silence while a client is connected, so the end is enforced. */
const STOP_GRACE_MS = 3_000;

/** Four slots make queues, 1,024 tokens make overlong prompts cheap; the rest shows what a gateway wants to see. */
const FLAGS = [
  ...['--load-format', 'dummy', '--dtype', 'bfloat16', '--enforce-eager'],
  ...['--max-model-len', '1024', '--max-num-seqs', '4', '--enable-prompt-tokens-details'],
  ...['--enable-server-load-tracking', '--enable-request-id-headers'],
];
const KINDS = {
  generating: { model: 'tiny', flags: ['--enable-auto-tool-choice', '--tool-call-parser', 'hermes'] },
  embedding: { model: 'tiny-embed', flags: ['--runner', 'pooling', '--convert', 'embed'] },
};

export interface VllmOptions {
  /** 0 or absent: any free port. */
  readonly port?: number;
  /** Absent: a random one. Empty: the server is open to every process of this machine. */
  readonly apiKey?: string;
  /** Serve embeddings instead of text. */
  readonly embedding?: boolean;
  /** More flags of `vllm serve`; a later one wins. */
  readonly flags?: readonly string[];
  readonly progress?: Progress;
  readonly signal?: AbortSignal;
}

export interface Vllm {
  readonly url: string;
  readonly pid: number;
  readonly apiKey: string;
  readonly model: string;
  /** Resolves when the server ended by itself. */
  readonly ended: Promise<void>;
  /** Ends the server with all its processes. */
  close(): Promise<void>;
}

/**
 * Starts a real vLLM on the CPU with a tiny model, installing both first where they are missing.
 * Needs Linux, Python 3.10, 10 GB of disk for the first start and 4 GB of memory; ready in about half a minute.
 */
export async function startVllm(options: VllmOptions = {}): Promise<Vllm> {
  const { progress = silent, signal, apiKey = randomUUID() } = options;
  const home = vllmHome();
  try {
    await install(home, progress, signal);
    const port = options.port || (await freePort());
    const url = `http://${HOST}:${port}`;
    progress.step('starting vLLM');
    const kind = options.embedding ? KINDS.embedding : KINDS.generating;
    const kindFlags = ['--served-model-name', kind.model, ...kind.flags];
    const address = ['--host', HOST, '--port', String(port)];
    const group = await serve(home, [...FLAGS, ...kindFlags, ...address, ...(options.flags ?? [])], apiKey, progress);
    try {
      await untilHealthy(url, group, signal);
    } catch (error) {
      await group.stop(0);
      throw error;
    }
    const ended = group.exited.then(() => {});
    return { url, pid: group.pid, apiKey, model: kind.model, ended, close: () => group.stop(STOP_GRACE_MS) };
  } finally {
    progress.done();
  }
}

function serve(home: VllmHome, flags: string[], apiKey: string, progress: Progress) {
  return startGroup(join(home.bin, 'vllm'), ['serve', home.model, ...flags], {
    logFile: join(home.folder, 'serve.log'),
    onLine: (line) => progress.detail(line),
    env: {
      PATH: `${home.bin}:${process.env.PATH ?? ''}`,
      VLLM_API_KEY: apiKey, // not on the command line, which every user of the machine can read
      VLLM_NO_USAGE_STATS: '1',
      DO_NOT_TRACK: '1',
      HF_HUB_OFFLINE: '1',
      TRANSFORMERS_OFFLINE: '1',
      TORCHDYNAMO_DISABLE: '1', // nothing is worth compiling here, and compiling would need a C++ compiler
      VLLM_HOST_IP: HOST,
      VLLM_CPU_KVCACHE_SPACE: '1',
      VLLM_CPU_OMP_THREADS_BIND: 'nobind',
      VLLM_CACHE_ROOT: join(home.folder, 'cache'),
    },
  });
}

async function untilHealthy(url: string, group: ProcessGroup, signal?: AbortSignal): Promise<void> {
  const deadline = performance.now() + READY_WITHIN_MS;
  let over = false;
  void group.exited.then(() => {
    over = true;
  });
  while (!(await healthy(url))) {
    signal?.throwIfAborted();
    if (over) throw new Error(`vLLM ended while it started:\n${group.tail()}`);
    if (performance.now() > deadline)
      throw new Error(`vLLM was not ready in ${READY_WITHIN_MS / 1000} s:\n${group.tail()}`);
    await sleep(POLL_MS);
  }
}

const healthy = (url: string) =>
  fetch(`${url}/health`).then(
    (answer) => answer.ok,
    () => false,
  );

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, HOST);
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  await once(probe, 'close');
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}
