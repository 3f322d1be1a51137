import { apiError } from './errors.ts';
import { checkJsonLimits } from './json-limits.ts';
import { bareTokensMax, chatTokensMax } from './prompt-bound.ts';
import { invalidField, isObject, type JsonObject, type RequestLimits } from './request-checks.ts';
import { type RequestKind, refusedFields, sentFields } from './request-fields.ts';

/** One call for inference, understood: what decides its price and its route, and what goes to the worker. */
export interface InferenceRequest {
  readonly kind: RequestKind;
  readonly model: string;
  readonly stream: boolean;
  /** What the caller asked of `usage`; the worker is always asked for all of it. */
  readonly includeUsage: boolean;
  readonly continuousUsage: boolean;
  readonly n: number;
  /** Answers in all: `n` for each prompt. Each may have `maxTokens`. */
  readonly sequences: number;
  /** Tokens per answer: the smaller of the caller's two fields; 16 for a completion without one, 0 for an embedding; null: not said. */
  readonly maxTokens: number | null;
  /** No tokenizer can make more tokens of all prompts together. */
  readonly promptTokensMax: number;
  /** Names of fields that were left out. */
  readonly ignored: readonly string[];
  /** The body for the worker, as JSON. May be called again for another attempt. */
  upstreamBody(options: UpstreamOptions): string;
}

export interface UpstreamOptions {
  /** Cap on the tokens of each answer; not sent for an embedding. */
  readonly maxTokens: number;
  /** Keeps the prompt caches of tenants apart: 1 to 128 characters without `@`, `/`, `\` and NUL. */
  readonly cacheSalt: string;
}

/** OpenAI's default for a completion, and vLLM's. */
const COMPLETION_MAX_TOKENS = 16;

/** Names fit for a header; of others and of more than these nobody learns anything. */
const IGNORED_NAME = /^[\w.-]{1,64}$/;
const IGNORED_NAMES_MAX = 32;

const decoder = new TextDecoder('utf-8', { fatal: true });

/**
 * Reads the body of a call. Throws `invalid_json` when it is not UTF-8 or not JSON, otherwise `invalid_request`, with the field at fault as
 * `param`. Ranges that only the engine knows are left to it.
 */
export function parseInference(kind: RequestKind, bytes: Uint8Array, limits: RequestLimits): InferenceRequest {
  checkJsonLimits(bytes, limits.jsonDepth, limits.jsonNodes);
  const body = parseObject(bytes);
  const { sent, ignored } = sortFields(kind, body, limits);
  if (sent.stream_options !== undefined && sent.stream !== true) {
    throw invalidField('stream_options', 'needs `stream` to be true');
  }
  const { prompts, tokens } = promptOf(kind, sent, limits);
  const n = numberOr(sent.n, 1);
  const options = sent.stream_options as JsonObject | undefined;
  const includeUsage = options?.include_usage === true;
  return {
    kind,
    model: modelOf(sent),
    stream: sent.stream === true,
    includeUsage,
    continuousUsage: includeUsage && options?.continuous_usage_stats === true,
    n,
    sequences: n * prompts,
    maxTokens: maxTokensOf(kind, sent),
    promptTokensMax: tokens,
    ignored,
    upstreamBody: (upstream) => upstreamBody(kind, sent, upstream),
  };
}

function parseObject(bytes: Uint8Array): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(bytes));
  } catch {
    throw apiError('invalid_json', 'The body is not JSON in UTF-8. Send one JSON object.');
  }
  if (!isObject(value)) throw apiError('invalid_request', 'The body must be a JSON object.');
  return value;
}

/** Splits the fields by their fate, checks those that are sent; null counts as absent. */
function sortFields(
  kind: RequestKind,
  body: JsonObject,
  limits: RequestLimits,
): { sent: JsonObject; ignored: string[] } {
  const checks = sentFields[kind];
  const sent: JsonObject = {};
  const ignored: string[] = [];
  for (const field of Object.keys(body)) {
    const value = body[field];
    if (value === null) continue;
    const check = checks.get(field);
    if (check !== undefined) {
      check(value, field, limits);
      sent[field] = value;
      continue;
    }
    const instead = refusedFields.get(field);
    if (instead !== undefined) throw invalidField(field, `is not accepted: ${instead}`);
    if (ignored.length < IGNORED_NAMES_MAX && IGNORED_NAME.test(field)) ignored.push(field);
  }
  return { sent, ignored };
}

function modelOf(sent: JsonObject): string {
  if (typeof sent.model !== 'string') throw invalidField('model', 'is required; `GET /v1/models` lists them');
  return sent.model;
}

/** How many prompts there are, and the most tokens in all of them. */
function promptOf(kind: RequestKind, sent: JsonObject, limits: RequestLimits): { prompts: number; tokens: number } {
  switch (kind) {
    case 'chat':
      return { prompts: 1, tokens: chatTokensMax(sent, limits) };
    case 'completion': {
      const bare = bareTokensMax(sent.prompt, 'prompt', limits.prompts);
      if (typeof sent.suffix !== 'string') return bare;
      return {
        prompts: bare.prompts,
        tokens: bare.tokens + bare.prompts * bareTokensMax(sent.suffix, 'suffix', 1).tokens,
      };
    }
    case 'embedding':
      return bareTokensMax(sent.input, 'input', limits.embeddingInputs);
  }
}

/** OpenAI refuses both fields together and vLLM takes one of them; the smaller keeps what either promises. */
function maxTokensOf(kind: RequestKind, sent: JsonObject): number | null {
  if (kind === 'embedding') return 0;
  const least = Math.min(numberOr(sent.max_tokens, Infinity), numberOr(sent.max_completion_tokens, Infinity));
  if (least !== Infinity) return least;
  return kind === 'completion' ? COMPLETION_MAX_TOKENS : null;
}

function numberOr(value: unknown, fallback: number): number {
  return typeof value === 'number' ? value : fallback;
}

/** `max_tokens` is the name that every release of vLLM knows, for both kinds; the meter needs usage in every chunk. */
function upstreamBody(kind: RequestKind, sent: JsonObject, options: UpstreamOptions): string {
  const body: JsonObject = { ...sent, cache_salt: options.cacheSalt };
  if (kind === 'embedding') return JSON.stringify(body);
  body.max_tokens = options.maxTokens;
  body.max_completion_tokens = undefined;
  if (sent.stream === true) body.stream_options = { include_usage: true, continuous_usage_stats: true };
  return JSON.stringify(body);
}
