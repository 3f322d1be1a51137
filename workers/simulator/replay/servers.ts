import type { SimulatorOptions } from '../options.ts';
import type { RecordedRequest } from './recordings.ts';

/** As fast as it goes: the recordings' order matters, their milliseconds do not. */
const FAST: SimulatorOptions = { prefillTokensPerSecond: 1e9, decodeBaseMs: 0, decodePerRequestMs: 0 };

const RECORDED: SimulatorOptions = { ...FAST, apiKey: 'test', contextLength: 1024, slots: 4, blockSize: 60 };

/**
 * The servers that were recorded. The recorded vocabulary has 2,000 entries and ours 100,000, so the long prompts are
 * half as many tokens here, and the server that gets them has half the context.
 */
export const SERVERS = {
  recorded: RECORDED,
  long: { ...RECORDED, contextLength: 512 },
  plain: {
    ...FAST,
    contextLength: 1024,
    toolParser: false,
    promptTokensDetails: false,
    requestIdHeaders: false,
    loadTracking: false,
  },
  pooling: { ...RECORDED, embeddings: true, requestIdHeaders: false },
  reasoning: { ...RECORDED, reasoningParser: true },
  variant: {
    ...RECORDED,
    slots: 1,
    forceIncludeUsage: true,
    keepAliveCommentMs: 1000,
    streamInterval: 5,
    perRequestMetrics: true,
    priorityScheduling: true,
  },
} as const satisfies Record<string, SimulatorOptions>;

const LONG_PROMPT = 'the quick brown fox jumps over the lazy dog the quick';

/** Which of the servers a recording came from. */
export function serverFor(name: string, request: RecordedRequest): keyof typeof SERVERS {
  if (name.startsWith('plain-')) {
    return 'plain';
  }
  if (name.startsWith('pooling-')) {
    return 'pooling';
  }
  if (name.startsWith('variant-')) {
    return 'variant';
  }
  if (name.includes('reasoning')) {
    return 'reasoning';
  }
  return JSON.stringify(request.body ?? '').includes(LONG_PROMPT) ? 'long' : 'recorded';
}

/** Bodies that the recordings do not hold byte for byte. */
const REBUILT: Readonly<Record<string, () => Buffer>> = {
  'error-not-utf8': () => Buffer.from('{"model":"tiny","messages":[{"role":"user","content":"\xff"}]}', 'latin1'),
  'error-json-deep': () => Buffer.from(`{"model":"tiny","x":${'['.repeat(100_000)}${']'.repeat(100_000)}}`),
};

/** The recorded request, as the recorder sent it. */
export function requestOf(
  name: string,
  request: RecordedRequest,
): { method: string; path: string; headers: Record<string, string>; body: Buffer | null } {
  const { method = 'GET', path = '/', body, raw } = request;
  const bytes =
    REBUILT[name]?.() ??
    (raw !== undefined
      ? Buffer.from(raw)
      : body === null || body === undefined
        ? null
        : Buffer.from(JSON.stringify(body)));
  const headers: Record<string, string | null> = {
    Authorization: 'Bearer test',
    ...(bytes === null ? {} : { 'Content-Type': 'application/json' }),
    ...request.headers,
  };
  const sent = Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== null);
  return { method, path, headers: Object.fromEntries(sent), body: bytes };
}
