import { Buffer } from 'node:buffer';
import { expect, test } from 'vitest';
import { ApiError } from './errors.ts';
import { type InferenceRequest, parseInference } from './request.ts';
import { defaultRequestLimits as limits } from './request-checks.ts';
import type { RequestKind } from './request-fields.ts';

const hello = { model: 'm', messages: [{ role: 'user', content: 'Hello' }] };
const prompt = { model: 'm', prompt: 'Hello' };
const input = { model: 'm', input: 'Hello' };

function parse(kind: RequestKind, body: unknown): InferenceRequest {
  return parseInference(kind, Buffer.from(JSON.stringify(body)), limits);
}

/** What the worker receives, parsed again. */
function upstream(request: InferenceRequest): Record<string, unknown> {
  return JSON.parse(Buffer.from(request.upstreamBody({ maxTokens: 7, cacheSalt: 'salt' })).toString());
}

/** The code and param of the refusal. */
function refusal(kind: RequestKind, body: unknown) {
  try {
    parse(kind, body);
  } catch (error) {
    if (error instanceof ApiError) return { code: error.code, param: error.param };
    throw error;
  }
  throw new Error('not refused');
}

test.each([
  ...['cache_salt', 'kv_transfer_params', 'ec_transfer_params', 'vllm_xargs', 'logits_processors', 'chat_template'],
  ...['chat_template_kwargs', 'mm_processor_kwargs', 'media_io_kwargs', 'priority', 'request_id', 'ignore_eos'],
  ...['guided_decoding_backend', 'guided_json', 'prompt_embeds', 'use_beam_search', 'audio', 'functions'],
])('%s is refused by name on every endpoint, unless null', (field) => {
  for (const [kind, body] of [
    ['chat', hello],
    ['completion', prompt],
    ['embedding', input],
  ] as const) {
    expect(refusal(kind, { ...body, [field]: 'x' })).toEqual({ code: 'invalid_request', param: field });
    expect(refusal(kind, { ...body, [field]: false })).toEqual({ code: 'invalid_request', param: field });
    expect(upstream(parse(kind, { ...body, [field]: null }))).toEqual(upstream(parse(kind, body)));
  }
});

test('what no worker needs to know stays here and is named', () => {
  const extras = {
    user: 'u',
    metadata: {},
    store: true,
    service_tier: 'auto',
    session_id: 's',
    stream_interval: 9,
    best_of: 2,
    banana: 1,
  };
  const request = parse('chat', { ...hello, ...extras });
  expect(request.ignored).toEqual(Object.keys(extras));
  expect(upstream(request)).toEqual({ ...hello, max_tokens: 7, cache_salt: 'salt' });
});

test('ignored names fit a header, however many and whatever they are', () => {
  const many = Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`x${n}`, 1]));
  expect(parse('chat', { ...hello, ...many }).ignored).toHaveLength(32);
  const odd = { 'a\r\nset-cookie: b': 1, ü: 1, '': 1, ['y'.repeat(65)]: 1, fine: 1 };
  expect(parse('chat', { ...hello, ...odd }).ignored).toEqual(['fine']);
});

test('names of JavaScript itself are fields like any other', () => {
  const body = '{"model":"m","messages":[{"role":"user"}],"__proto__":{"stream":true},"constructor":1,"toString":2}';
  const request = parseInference('chat', Buffer.from(body), limits);
  expect(request).toMatchObject({ stream: false, ignored: ['__proto__', 'constructor', 'toString'] });
});
