import { createHash } from 'node:crypto';

/** What vLLM release the simulator behaves as. */
export const VLLM_VERSION = '0.32.0';

/**
 * How a simulated vLLM server is set up. Every field has a default; the flags' defaults are those of the recorded server
 * (details, request-id headers and a tool parser on), because that is how a worker of ours should be started.
 */
export interface SimulatorOptions {
  /** Address to listen on. Default 127.0.0.1. */
  host?: string;
  /** Port to listen on. Default 0: any free one. */
  port?: number;
  /** Served model name. Default `tiny`. */
  model?: string;
  /** Key that `/v1` asks for. Default: none, open to all. */
  apiKey?: string | undefined;
  /** Seed of everything random. Default 0. */
  seed?: number;
  /** Longest prompt plus answer, tokens (`--max-model-len`). Default 8192. */
  contextLength?: number;
  /** Sequences that run at once (`--max-num-seqs`). Default 32. */
  slots?: number;
  /** Calls running and waiting before new ones are refused (`--max-num-queued-reqs`). Default: no limit. */
  maxQueued?: number | undefined;
  /** Prompt tokens not yet prefilled before new calls are refused (`--max-num-queued-tokens`). Default: no limit. */
  maxQueuedTokens?: number | undefined;
  /** Prompt tokens computed per second. Default 10,000. */
  prefillTokensPerSecond?: number;
  /** Tokens in one engine step, prompt and output together (`--max-num-batched-tokens`). Default 2048. */
  chunkTokens?: number;
  /** Time of a step that decodes anything, ms. Default 8. */
  decodeBaseMs?: number;
  /** Time each decoding sequence adds to a step, ms. Default 0.25. */
  decodePerRequestMs?: number;
  /** One round trip, added before every answer: distance, ms. Default 0. */
  rttMs?: number;
  /** A pooling server: `/v1/embeddings` and no generation. Default false. */
  embeddings?: boolean;
  /** Length of an embedding. Default 128. */
  embeddingDimensions?: number;
  /** Blocks of the KV cache. Default 8192. */
  kvBlocks?: number;
  /** Tokens in a block. Default 16. */
  blockSize?: number;
  /** `--enable-prompt-tokens-details`. Default true. */
  promptTokensDetails?: boolean;
  /** `--enable-request-id-headers`. Default true. */
  requestIdHeaders?: boolean;
  /** `--enable-server-load-tracking`. Default true. */
  loadTracking?: boolean;
  /** `--enable-auto-tool-choice --tool-call-parser hermes`. Default true. */
  toolParser?: boolean;
  /** `--reasoning-parser deepseek_r1`: answers begin with reasoning. Default false. */
  reasoningParser?: boolean;
  /** `--sse-keep-alive-interval`, ms. Default 0: no comments. */
  keepAliveCommentMs?: number;
  /** `--stream-interval`, tokens. Default 1. */
  streamInterval?: number;
  /** `--enable-force-include-usage`. Default false. */
  forceIncludeUsage?: boolean;
  /** `--enable-per-request-metrics`. Default false. */
  perRequestMetrics?: boolean;
  /** `--scheduling-policy priority`. Default false: first come, first served. */
  priorityScheduling?: boolean;
  /** Also tell the metric names of vLLM before 0.20. Default false. */
  oldMetricNames?: boolean;
  /** Time an idle kept-alive connection is kept, ms (`VLLM_HTTP_TIMEOUT_KEEP_ALIVE`). Default 5000. */
  idleConnectionMs?: number;
}

/** The options with their defaults, and what follows from them. */
export type Settings = Required<SimulatorOptions> & { readonly fingerprint: string };

const DEFAULTS: Required<SimulatorOptions> = {
  host: '127.0.0.1',
  port: 0,
  model: 'tiny',
  apiKey: undefined,
  seed: 0,
  contextLength: 8192,
  slots: 32,
  maxQueued: undefined,
  maxQueuedTokens: undefined,
  prefillTokensPerSecond: 10_000,
  chunkTokens: 2048,
  decodeBaseMs: 8,
  decodePerRequestMs: 0.25,
  rttMs: 0,
  embeddings: false,
  embeddingDimensions: 128,
  kvBlocks: 8192,
  blockSize: 16,
  promptTokensDetails: true,
  requestIdHeaders: true,
  loadTracking: true,
  toolParser: true,
  reasoningParser: false,
  keepAliveCommentMs: 0,
  streamInterval: 1,
  forceIncludeUsage: false,
  perRequestMetrics: false,
  priorityScheduling: false,
  oldMetricNames: false,
  idleConnectionMs: 5000,
};

/** Fills in the defaults; throws when the KV cache could not hold one full context. As with vLLM, the fingerprint changes with the flags; the word `simulator` in it is ours. */
export function settle(options: SimulatorOptions): Settings {
  const settings = { ...DEFAULTS, ...options };
  if (settings.kvBlocks * settings.blockSize < settings.contextLength) {
    throw new Error('the KV cache (kvBlocks times blockSize) is smaller than contextLength');
  }
  const { host: _host, port: _port, apiKey: _apiKey, ...flags } = settings;
  const hash = createHash('sha256').update(JSON.stringify(flags)).digest('hex').slice(0, 8);
  return { ...settings, fingerprint: `simulator-${VLLM_VERSION}-${hash}` };
}
