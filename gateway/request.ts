import { Buffer } from 'node:buffer';
import { apiError } from './errors.ts';
import { type JsonMember, scanJson } from './json-limits.ts';
import { bareTokensMax, chatTokensMax, templateTokensMax, textTokensMax } from './prompt-bound.ts';
import { type Provider, parseProvider } from './provider.ts';
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
  /** What of that bound is the caller's own: bytes of text, or token ids. */
  readonly promptBytes: number;
  /** Of the body as it came. */
  readonly bodyBytes: number;
  /** Names of fields that were left out. */
  readonly ignored: readonly string[];
  /** What the caller wants of the worker. */
  readonly provider: Provider;
  /** The body for the worker, as JSON. May be called again for another attempt. */
  upstreamBody(options: UpstreamOptions): Uint8Array;
  /** The prompt's own bytes, in the order in which an engine is given them: equal beginnings mean an equal beginning of the prompt. */
  promptPieces(): Uint8Array[];
}

interface UpstreamOptions {
  /** Cap on the tokens of each answer; not sent for an embedding. */
  readonly maxTokens: number;
  /** Keeps the prompt caches of tenants apart: 1 to 128 letters and digits. */
  readonly cacheSalt: string;
}

/** OpenAI's default for a completion, and vLLM's. */
const COMPLETION_MAX_TOKENS = 16;

/** Names fit for a header; of others and of more than these nobody learns anything. */
const IGNORED_NAME = /^[\w.-]{1,64}$/;
const IGNORED_NAMES_MAX = 32;

/** Fields that the gateway reads and writes anew. */
const WRITTEN_FIELDS: ReadonlySet<string> = new Set(['max_tokens', 'max_completion_tokens', 'stream_options']);

/** The field that only the gateway reads. */
const PROVIDER_FIELD = 'provider';

/** Templates put tools and documents in front of the conversation. */
const PROMPT_ORDER = ['tools', 'documents', 'messages', 'prompt', 'input'] as const;

const BRACE = 0x7b;
const COMMA = 0x2c;

const decoder = new TextDecoder('utf-8', { fatal: true });

/**
 * Reads the body of a call. Throws `invalid_json` when it is not UTF-8 or not JSON, otherwise `invalid_request`, with the field at fault as
 * `param`. Ranges that only the engine knows are left to it. `providerHeader` is the header `x-faregate-provider`.
 */
export function parseInference(
  kind: RequestKind,
  body: Uint8Array,
  limits: RequestLimits,
  providerHeader?: string,
): InferenceRequest {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const members = scanJson(bytes, limits.jsonDepth, limits.jsonNodes);
  const values = parseObject(body);
  const { sent, ignored } = sortFields(kind, values, members, limits);
  if (typeof values.model !== 'string') throw invalidField('model', 'is required; `GET /v1/models` lists them');
  const stream = sent.has('stream') && values.stream === true;
  if (sent.has('stream_options') && !stream) throw invalidField('stream_options', 'needs `stream` to be true');
  const options = stream && isObject(values.stream_options) ? values.stream_options : {};
  const includeUsage = options.include_usage === true;
  const { prompts, tokens } = promptOf(kind, values, sent, limits);
  const template = kind === 'chat' ? templateTokensMax(values, limits) : 0;
  const n = sent.has('n') ? numberOr(values.n, 1) : 1;
  return {
    kind,
    model: values.model,
    stream,
    includeUsage,
    continuousUsage: includeUsage && options.continuous_usage_stats === true,
    n,
    sequences: n * prompts,
    maxTokens: maxTokensOf(kind, values),
    promptTokensMax: tokens,
    promptBytes: tokens - template,
    bodyBytes: bytes.length,
    ignored,
    provider: parseProvider(providerHeader, values[PROVIDER_FIELD]),
    promptPieces: () => promptPieces(bytes, sent),
    upstreamBody: (upstream) => upstreamBody(kind, stream, bytes, sent, upstream),
  };
}

function parseObject(body: Uint8Array): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(body));
  } catch {
    throw apiError('invalid_json', 'The body is not JSON in UTF-8. Send one JSON object.');
  }
  if (!isObject(value)) throw apiError('invalid_request', 'The body must be a JSON object.');
  return value;
}

/** Splits the fields by their fate and checks those that are sent. Null counts as absent; of a repeated name the last counts, as in the parser. */
function sortFields(kind: RequestKind, values: JsonObject, members: readonly JsonMember[], limits: RequestLimits) {
  const checks = sentFields[kind];
  const sent = new Map<string, JsonMember>();
  const ignored: string[] = [];
  for (const member of members) {
    const field = member.name;
    const value = values[field];
    if (value === null || field === PROVIDER_FIELD) continue;
    const check = checks.get(field);
    if (check !== undefined) {
      check(value, field, limits, member.end - member.start);
      sent.set(field, member);
      continue;
    }
    const instead = refusedFields.get(field);
    if (instead !== undefined) throw invalidField(field, `is not accepted: ${instead}`);
    if (ignored.length < IGNORED_NAMES_MAX && IGNORED_NAME.test(field)) ignored.push(field);
  }
  return { sent, ignored };
}

/** How many prompts there are, and the most tokens in all of them. */
function promptOf(kind: RequestKind, values: JsonObject, sent: ReadonlyMap<string, JsonMember>, limits: RequestLimits) {
  switch (kind) {
    case 'chat':
      return { prompts: 1, tokens: chatTokensMax(values, sent.values(), limits) };
    case 'completion': {
      const { prompts, tokens } = bareTokensMax(values.prompt, 'prompt', limits.prompts);
      const suffix = typeof values.suffix === 'string' ? textTokensMax(values.suffix) : 0;
      return { prompts, tokens: tokens + prompts * suffix };
    }
    case 'embedding':
      return bareTokensMax(values.input, 'input', limits.embeddingInputs);
  }
}

function promptPieces(bytes: Buffer, sent: ReadonlyMap<string, JsonMember>): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (const field of PROMPT_ORDER) {
    const member = sent.get(field);
    if (member !== undefined) pieces.push(bytes.subarray(member.start, member.end));
  }
  return pieces;
}

/** OpenAI refuses both fields together and vLLM takes one of them; the smaller keeps what either promises. */
function maxTokensOf(kind: RequestKind, values: JsonObject): number | null {
  if (kind === 'embedding') return 0;
  const other = kind === 'chat' ? values.max_completion_tokens : null;
  const least = Math.min(numberOr(values.max_tokens, Infinity), numberOr(other, Infinity));
  if (least !== Infinity) return least;
  return kind === 'completion' ? COMPLETION_MAX_TOKENS : null;
}

function numberOr(value: unknown, fallback: number): number {
  return typeof value === 'number' ? value : fallback;
}

/**
 * The caller's own bytes for the fields sent, each name once, and the gateway's fields after them: printing a long conversation anew would
 * cost more than parsing it did. `max_tokens` is the name that every release of vLLM knows; the meter needs usage in every chunk.
 */
function upstreamBody(
  kind: RequestKind,
  stream: boolean,
  bytes: Buffer,
  sent: ReadonlyMap<string, JsonMember>,
  options: UpstreamOptions,
): Uint8Array {
  let own = kind === 'embedding' ? '' : `"max_tokens":${options.maxTokens},`;
  if (stream) own += '"stream_options":{"include_usage":true,"continuous_usage_stats":true},';
  own += `"cache_salt":"${options.cacheSalt}"}`;
  // No more than all of the caller's members, the commas after them, the first brace and ours.
  const body = Buffer.allocUnsafe(bytes.length + sent.size + 1 + own.length);
  body[0] = BRACE;
  let length = 1;
  for (const [field, { start, end }] of sent) {
    if (WRITTEN_FIELDS.has(field)) continue;
    length += bytes.copy(body, length, start, end);
    body[length++] = COMMA;
  }
  length += body.write(own, length, 'latin1');
  return body.subarray(0, length);
}
