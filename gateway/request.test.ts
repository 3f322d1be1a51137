import { Buffer } from 'node:buffer';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { ApiError } from './errors.ts';
import { type InferenceRequest, parseInference } from './request.ts';
import { defaultRequestLimits as limits } from './request-checks.ts';
import type { RequestKind } from './request-fields.ts';

const hello = { model: 'm', messages: [{ role: 'user', content: 'Hello' }] };
const prompt = { model: 'm', prompt: 'Hello' };
const input = { model: 'm', input: 'Hello' };

function parse(kind: RequestKind, body: unknown): InferenceRequest {
  return parseInference(kind, Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)), limits);
}

/** What the worker receives, parsed again. */
function upstream(request: InferenceRequest, maxTokens = 7): Record<string, unknown> {
  return JSON.parse(Buffer.from(request.upstreamBody({ maxTokens, cacheSalt: 'salt' })).toString());
}

/** The code and param of the refusal. */
function refusal(kind: RequestKind, body: unknown): { code: string; param: string | null } {
  try {
    parse(kind, body);
  } catch (error) {
    if (error instanceof ApiError) return { code: error.code, param: error.param };
    throw error;
  }
  throw new Error('not refused');
}

test('a plain chat call is read with its defaults', () => {
  expect(parse('chat', hello)).toMatchObject({
    kind: 'chat',
    model: 'm',
    stream: false,
    includeUsage: false,
    continuousUsage: false,
    n: 1,
    sequences: 1,
    maxTokens: null,
    ignored: [],
  });
});

test('the worker gets the fields, the cap and the salt', () => {
  const body = { ...hello, temperature: 0.5, max_tokens: 100, seed: 7 };
  expect(upstream(parse('chat', body))).toEqual({ ...body, max_tokens: 7, cache_salt: 'salt' });
});

test('a stream always asks the worker for usage in every chunk, whatever the caller asked', () => {
  const asked = { include_usage: true, continuous_usage_stats: true };
  for (const options of [undefined, {}, { include_usage: false }, asked]) {
    const request = parse('chat', { ...hello, stream: true, stream_options: options });
    expect(upstream(request)).toEqual({
      ...hello,
      stream: true,
      stream_options: asked,
      max_tokens: 7,
      cache_salt: 'salt',
    });
  }
});

test.each([
  [undefined, false, false],
  [{ include_usage: false }, false, false],
  [{ include_usage: true }, true, false],
  [{ include_usage: true, continuous_usage_stats: true }, true, true],
  [{ continuous_usage_stats: true }, false, false],
  [null, false, false],
])('of the stream options %j the caller sees what vLLM would show', (options, includeUsage, continuousUsage) => {
  const request = parse('chat', { ...hello, stream: true, stream_options: options });
  expect(request).toMatchObject({ stream: true, includeUsage, continuousUsage });
});

test('a completion without a length is sixteen tokens long, as OpenAI and vLLM have it', () => {
  expect(parse('completion', prompt).maxTokens).toBe(16);
  expect(parse('completion', { ...prompt, max_tokens: null }).maxTokens).toBe(16);
  expect(parse('completion', { ...prompt, max_tokens: 100 }).maxTokens).toBe(100);
});

test('an embedding has no output, and no length reaches the worker', () => {
  const request = parse('embedding', { ...input, encoding_format: 'base64', max_tokens: 5 });
  expect(request).toMatchObject({ maxTokens: 0, stream: false, ignored: ['max_tokens'] });
  expect(upstream(request)).toEqual({ ...input, encoding_format: 'base64', cache_salt: 'salt' });
});

test('of two lengths the smaller counts, and the worker gets one', () => {
  const request = parse('chat', { ...hello, max_tokens: 50, max_completion_tokens: 40 });
  expect(request.maxTokens).toBe(40);
  expect(upstream(request, 40)).toEqual({ ...hello, max_tokens: 40, cache_salt: 'salt' });
  expect(parse('chat', { ...hello, max_completion_tokens: 9 }).maxTokens).toBe(9);
});

test('every prompt of a list has n answers', () => {
  const request = parse('completion', { ...prompt, prompt: ['a', 'b', 'c'], n: 4 });
  expect(request).toMatchObject({ n: 4, sequences: 12 });
});

test('the same request serves a second attempt with another cap', () => {
  const request = parse('chat', hello);
  expect([upstream(request, 1).max_tokens, upstream(request, 2).max_tokens]).toEqual([1, 2]);
});

test('texts of every kind may be parts, and carry what caching clients add', () => {
  const cached = { type: 'text', text: 'a', cache_control: { type: 'ephemeral' } };
  const content = [cached, { type: 'refusal', refusal: 'b' }, { type: 'output_text', text: 'c' }, 'd'];
  expect(upstream(parse('chat', { model: 'm', messages: [{ role: 'user', content }] })).messages).toEqual([
    { role: 'user', content },
  ]);
});

test('an answer of the model may be sent back as it came', () => {
  const call = { id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } };
  const answer = {
    role: 'assistant',
    content: null,
    refusal: null,
    annotations: null,
    audio: null,
    reasoning: 'r',
    tool_calls: [call],
  };
  const messages = [...hello.messages, answer, { role: 'tool', tool_call_id: 'c', content: 'x' }];
  expect(upstream(parse('chat', { model: 'm', messages })).messages).toEqual(messages);
});

test.each([
  ['nothing', Buffer.from('')],
  ['half of an object', Buffer.from('{"model":"m"')],
  ['NaN', Buffer.from('{"model":"m","temperature":NaN}')],
  [
    'bytes that are not UTF-8',
    Buffer.concat([Buffer.from('{"model":"'), Buffer.from([0xc3, 0x28]), Buffer.from('"}')]),
  ],
  ['a form', Buffer.from('model=m&stream=true')],
])('%s is not JSON', (_, bytes) => {
  expect(() => parseInference('chat', bytes, limits)).toThrow(
    expect.objectContaining({ code: 'invalid_json', status: 400 }),
  );
});

test.each(['[]', '"x"', '5', 'null'])('%s is JSON but no object', (body) => {
  expect(refusal('chat', body)).toEqual({ code: 'invalid_request', param: null });
});

test('depth and size are refused before the body is parsed', () => {
  expect(refusal('chat', '['.repeat(65))).toEqual({ code: 'invalid_request', param: null });
  expect(refusal('chat', `[${'0,'.repeat(100_001)}`)).toEqual({ code: 'invalid_request', param: null });
});

test('of a name written twice the last counts, here and at the worker', () => {
  const body =
    '{"model":"m","n":16,"messages":[{"role":"user","content":"a"}],"\\u006e":2,"cache_salt":"x","cache_salt":null}';
  const request = parse('chat', body);
  expect(request.n).toBe(2);
  expect(upstream(request)).toMatchObject({ n: 2, cache_salt: 'salt' });
  expect(Buffer.from(request.upstreamBody({ maxTokens: 1, cacheSalt: 'salt' })).toString()).not.toContain('16');
  expect(refusal('chat', '{"model":"m","cache_salt":null,"cache_salt":"x"}').param).toBe('cache_salt');
});

test('numbers beyond what JavaScript holds reach the worker unrounded', () => {
  const request = parse('chat', '{"model":"m","messages":[{"role":"user"}],"seed":9223372036854775807}');
  expect(Buffer.from(request.upstreamBody({ maxTokens: 1, cacheSalt: 's' })).toString()).toContain(
    '"seed":9223372036854775807',
  );
});

test('a body that is part of a larger buffer is read alone', () => {
  const whole = Buffer.from(`garbage"${JSON.stringify(hello)}]garbage`);
  const part = whole.subarray(8, whole.length - 8);
  expect(upstream(parseInference('chat', part, limits))).toMatchObject(hello);
});

test('whatever is in the messages reaches the worker with the same meaning', () => {
  const message = fc.record({
    role: fc.constant('user'),
    content: fc.string({ unit: 'grapheme' }),
    extra: fc.jsonValue(),
  });
  const same = fc.property(
    fc.array(message, { minLength: 1 }),
    fc.constantFrom(undefined, 1, '\t'),
    (messages, space) => {
      const bytes = Buffer.from(JSON.stringify({ stream: true, messages, user: 'u', model: 'm' }, null, space));
      const expected = JSON.parse(JSON.stringify(messages));
      expect(upstream(parseInference('chat', bytes, limits)).messages).toEqual(expected);
    },
  );
  return fc.assert(same);
});

test('any bytes are read or refused, never a fault', () => {
  const json = fc.json().map((text) => Buffer.from(text));
  const shaped = fc.record({
    model: fc.jsonValue(),
    messages: fc.jsonValue(),
    prompt: fc.jsonValue(),
    tools: fc.jsonValue(),
    n: fc.jsonValue(),
  });
  const bodies = fc.oneof(
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    json,
    shaped.map((body) => Buffer.from(JSON.stringify(body))),
  );
  const answered = fc.property(
    bodies,
    fc.constantFrom<RequestKind>('chat', 'completion', 'embedding'),
    (bytes, kind) => {
      try {
        upstream(parseInference(kind, bytes, limits));
      } catch (error) {
        expect(error).toBeInstanceOf(ApiError);
      }
    },
  );
  return fc.assert(answered, { numRuns: 500 });
});
