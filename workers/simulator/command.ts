import { parseArgs } from 'node:util';
import type { SimulatorOptions } from './options.ts';
import { startSimulator } from './server.ts';

const HELP = `faregate simulate-vllm [options]

Starts a server that behaves as vLLM 0.32.0 does, without a model: text is invented, tokens are counted by a real
tokenizer, time passes as a queueing model of the engine says. It calls itself a simulator in /version, owned_by and
the system fingerprint. Prints one line of JSON when ready and runs until SIGTERM or SIGINT.

  --host H                      address to listen on (127.0.0.1)
  --port N                      port; 0 is any free one (0)
  --model NAME                  served model name (tiny)
  --api-key KEY                 key that /v1 asks for (none)
  --seed N                      seed of all that is random (0)
  --context-length N            longest prompt plus answer, tokens (8192)
  --slots N                     sequences that run at once (32)
  --max-queued N                calls running and waiting before 503 (no limit)
  --max-queued-tokens N         prompt tokens waiting before 503 (no limit)
  --prefill-tokens-per-second N (10000)
  --chunk-tokens N              tokens in one engine step (2048)
  --decode-base-ms X            time of a decoding step (8)
  --decode-per-request-ms X     added by each decoding sequence (0.25)
  --rtt-ms X                    one round trip before every answer (0)
  --kv-blocks N                 blocks of the KV cache (8192)
  --block-size N                tokens in a block (16)
  --embeddings                  a pooling server: /v1/embeddings instead of generation
  --embedding-dimensions N      (128)
  --reasoning-parser            answers begin with reasoning
  --no-tool-parser              as vLLM without --tool-call-parser
  --no-prompt-tokens-details    as vLLM without --enable-prompt-tokens-details
  --no-request-id-headers       as vLLM without --enable-request-id-headers
  --no-load-tracking            as vLLM without --enable-server-load-tracking
  --keep-alive-comment-ms N     comments in silent streams (0: none)
  --stream-interval N           tokens in a chunk (1)
  --force-include-usage         usage in every chunk of every stream
  --per-request-metrics         the worker's own timings in answers
  --priority-scheduling         lower priority runs first
  --old-metric-names            metric names of old releases as well
  --idle-connection-ms N        idle connections close after this (5000)
  --on-sigterm abort|silent     how calls end on SIGTERM (abort)
  --help
`;

const NUMBERS = {
  port: 'port',
  seed: 'seed',
  'context-length': 'contextLength',
  slots: 'slots',
  'max-queued': 'maxQueued',
  'max-queued-tokens': 'maxQueuedTokens',
  'prefill-tokens-per-second': 'prefillTokensPerSecond',
  'chunk-tokens': 'chunkTokens',
  'decode-base-ms': 'decodeBaseMs',
  'decode-per-request-ms': 'decodePerRequestMs',
  'rtt-ms': 'rttMs',
  'kv-blocks': 'kvBlocks',
  'block-size': 'blockSize',
  'embedding-dimensions': 'embeddingDimensions',
  'keep-alive-comment-ms': 'keepAliveCommentMs',
  'stream-interval': 'streamInterval',
  'idle-connection-ms': 'idleConnectionMs',
} as const satisfies Record<string, keyof SimulatorOptions>;

const TEXTS = { host: 'host', model: 'model', 'api-key': 'apiKey' } as const satisfies Record<
  string,
  keyof SimulatorOptions
>;

const SWITCHES = {
  embeddings: 'embeddings',
  'reasoning-parser': 'reasoningParser',
  'tool-parser': 'toolParser',
  'prompt-tokens-details': 'promptTokensDetails',
  'request-id-headers': 'requestIdHeaders',
  'load-tracking': 'loadTracking',
  'force-include-usage': 'forceIncludeUsage',
  'per-request-metrics': 'perRequestMetrics',
  'priority-scheduling': 'priorityScheduling',
  'old-metric-names': 'oldMetricNames',
} as const satisfies Record<string, keyof SimulatorOptions>;

/** `faregate simulate-vllm`: exit status 0 after SIGTERM or SIGINT, 1 when it cannot start, 2 for bad usage. */
export async function simulateVllmCommand(argv: string[]): Promise<number> {
  let asked: { options: SimulatorOptions; onSigterm: 'abort' | 'silent' } | 'help';
  try {
    asked = readOptions(argv);
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\nTry: faregate simulate-vllm --help\n`);
    return 2;
  }
  if (asked === 'help') {
    process.stdout.write(HELP);
    return 0;
  }
  try {
    const simulator = await startSimulator(asked.options);
    process.stdout.write(`${JSON.stringify({ event: 'ready', url: simulator.url, pid: simulator.pid })}\n`);
    const signal = await nextSignal();
    if (signal === 'SIGTERM') {
      simulator.faults.set({ fault: asked.onSigterm === 'abort' ? 'sigterm-abort' : 'sigterm-silent' });
      await simulator.drained();
    }
    await simulator.close();
    return 0;
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n`);
    return 1;
  }
}

function readOptions(argv: string[]): { options: SimulatorOptions; onSigterm: 'abort' | 'silent' } | 'help' {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  const { values } = parseArgs({
    args: argv,
    allowNegative: true,
    options: {
      ...Object.fromEntries([...Object.keys(NUMBERS), ...Object.keys(TEXTS), 'on-sigterm'].map((name) => [name, text])),
      ...Object.fromEntries([...Object.keys(SWITCHES), 'help'].map((name) => [name, flag])),
    },
  });
  if (values.help === true) {
    return 'help';
  }
  const numbers = Object.entries(NUMBERS).flatMap(([name, field]) =>
    values[name] === undefined ? [] : [[field, readNumber(name, values[name])]],
  );
  const others = Object.entries({ ...TEXTS, ...SWITCHES }).flatMap(([name, field]) =>
    values[name] === undefined ? [] : [[field, values[name]]],
  );
  const onSigterm = values['on-sigterm'] ?? 'abort';
  if (onSigterm !== 'abort' && onSigterm !== 'silent') {
    throw new Error('--on-sigterm is abort or silent');
  }
  return { options: Object.fromEntries([...numbers, ...others]), onSigterm };
}

function readNumber(name: string, value: unknown): number {
  const number = Number(value);
  if (!(number >= 0)) {
    throw new Error(`--${name} is a number of at least 0`);
  }
  return number;
}

function nextSignal(): Promise<'SIGTERM' | 'SIGINT'> {
  return new Promise((resolve) => {
    process.once('SIGTERM', () => resolve('SIGTERM'));
    process.once('SIGINT', () => resolve('SIGINT'));
  });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
