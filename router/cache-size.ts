/** How many tokens an engine's prefix cache holds, read off its metrics page. Who claims too much makes our guesses worse, and earns nothing. */
import { Buffer } from 'node:buffer';
import { Deadline } from './deadline.ts';
import type { Fleet } from './fleet.ts';
import type { Outbound, OutboundCall, OutboundSink } from './outbound.ts';
import type { RttLimits } from './rtt.ts';
import type { Worker } from './worker.ts';

const ANSWER_MS = 5_000;
const PAGE_BYTES_MAX = 4 * 1024 * 1024;

/** Resolves with null where the page does not come or does not tell; nobody is blamed for that. */
export function readCacheTokens(
  fleet: Fleet,
  worker: Worker,
  outbound: Outbound,
  limits: RttLimits,
): Promise<number | null> {
  return new Promise((resolve) => new MetricsPage(fleet, resolve).fetch(worker, outbound, limits));
}

/** Blocks × tokens of a block, of what vLLM tells of its set-up. */
export function cacheTokensOf(page: string): number | null {
  const info = /^vllm:cache_config_info\{(.*)\}/m.exec(page)?.[1] ?? '';
  const label = (name: string) => Number(new RegExp(`(?:^|,)${name}="(\\d+)"`).exec(info)?.[1] ?? Number.NaN);
  const tokens = label('num_gpu_blocks') * label('block_size');
  return tokens > 0 ? tokens : null;
}

class MetricsPage implements OutboundSink {
  readonly #resolve: (tokens: number | null) => void;
  readonly #deadline: Deadline;
  readonly #chunks: Uint8Array[] = [];
  #bytes = 0;
  #call: OutboundCall | null = null;
  #signal: AbortSignal | null = null;
  readonly #stop = () => this.#call?.abort(new Error('stopped'));
  #isPage = false;

  constructor(fleet: Fleet, resolve: (tokens: number | null) => void) {
    this.#resolve = resolve;
    this.#deadline = new Deadline(fleet.now, () => this.#call?.abort(new Error('too slow')));
    this.#deadline.set(fleet.now() + ANSWER_MS);
  }

  fetch(worker: Worker, outbound: Outbound, { connectMs, signal }: RttLimits): void {
    this.#signal = signal;
    signal.addEventListener('abort', this.#stop);
    this.#call = outbound({ target: worker.target('/metrics'), method: 'GET', headers: {}, connectMs }, this);
  }

  onSent(): void {}

  onHead(status: number): void {
    this.#isPage = status === 200;
  }

  onData(chunk: Uint8Array): void {
    this.#bytes += chunk.length;
    if (this.#bytes > PAGE_BYTES_MAX) this.#call?.abort(new Error('too long'));
    else this.#chunks.push(chunk);
  }

  onEnd(): void {
    this.#finish(this.#isPage ? cacheTokensOf(Buffer.concat(this.#chunks).toString()) : null);
  }

  onError(): void {
    this.#finish(null);
  }

  #finish(tokens: number | null): void {
    this.#deadline.clear();
    this.#signal?.removeEventListener('abort', this.#stop);
    this.#resolve(tokens);
  }
}
