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

test.each<[RequestKind, string, object]>([
  ['chat', 'model', { messages: hello.messages }],
  ['chat', 'model', { ...hello, model: '' }],
  ['chat', 'model', { ...hello, model: 5 }],
  ['chat', 'messages', { model: 'm' }],
  ['chat', 'messages', { ...hello, messages: [] }],
  ['chat', 'messages', { ...hello, messages: 'x' }],
  ['chat', 'messages[1]', { ...hello, messages: [hello.messages[0], 'x'] }],
  ['chat', 'messages[0].role', { ...hello, messages: [{ content: 'x' }] }],
  ['chat', 'messages[0].content', { ...hello, messages: [{ role: 'user', content: 5 }] }],
  ['chat', 'messages[0].content', { ...hello, messages: [{ role: 'user', content: {} }] }],
  ['chat', 'stream', { ...hello, stream: 'yes' }],
  ['chat', 'stream_options', { ...hello, stream_options: { include_usage: true } }],
  ['chat', 'stream_options', { ...hello, stream: false, stream_options: {} }],
  ['chat', 'stream_options', { ...hello, stream: true, stream_options: 'yes' }],
  ['chat', 'stream_options.include_usage', { ...hello, stream: true, stream_options: { include_usage: 1 } }],
  ['chat', 'max_tokens', { ...hello, max_tokens: 0 }],
  ['chat', 'max_tokens', { ...hello, max_tokens: 1.5 }],
  ['chat', 'max_tokens', { ...hello, max_tokens: '5' }],
  ['chat', 'max_completion_tokens', { ...hello, max_completion_tokens: -1 }],
  ['chat', 'n', { ...hello, n: 0 }],
  ['chat', 'n', { ...hello, n: 17 }],
  ['chat', 'n', { ...hello, n: '2' }],
  ['chat', 'logprobs', { ...hello, logprobs: 5 }],
  ['chat', 'top_logprobs', { ...hello, top_logprobs: 21 }],
  ['chat', 'prompt_logprobs', { ...hello, prompt_logprobs: -1 }],
  ['chat', 'stop', { ...hello, stop: Array(17).fill('x') }],
  ['chat', 'stop[1]', { ...hello, stop: ['a', 5] }],
  ['chat', 'logit_bias', { ...hello, logit_bias: [] }],
  ['chat', 'logit_bias', { ...hello, logit_bias: Object.fromEntries(Array(1_025).fill(0).entries()) }],
  ['chat', 'allowed_token_ids', { ...hello, allowed_token_ids: Array(1_025).fill(1) }],
  ['chat', 'bad_words', { ...hello, bad_words: 'x' }],
  ['chat', 'tools', { ...hello, tools: {} }],
  ['chat', 'tools[0]', { ...hello, tools: ['x'] }],
  ['chat', 'tools', { ...hello, tools: Array(129).fill({}) }],
  ['chat', 'documents', { ...hello, documents: 'x' }],
  ['chat', 'response_format', { ...hello, response_format: 'json' }],
  ['chat', 'response_format', { ...hello, response_format: { type: 'json_schema', x: 'y'.repeat(65_536) } }],
  ['chat', 'structured_outputs.regex', { ...hello, structured_outputs: { regex: 'a'.repeat(4_097) } }],
  ['completion', 'prompt', { model: 'm' }],
  ['completion', 'prompt', { ...prompt, prompt: null }],
  ['completion', 'prompt', { ...prompt, prompt: [] }],
  ['completion', 'prompt', { ...prompt, prompt: {} }],
  ['completion', 'prompt', { ...prompt, prompt: [1, 'a'] }],
  ['completion', 'prompt', { ...prompt, prompt: [1, 2.5] }],
  ['completion', 'prompt[1]', { ...prompt, prompt: ['a', 1] }],
  ['completion', 'prompt[0]', { ...prompt, prompt: [['a']] }],
  ['completion', 'prompt', { ...prompt, prompt: Array(65).fill('x') }],
  ['completion', 'logprobs', { ...prompt, logprobs: 21 }],
  ['completion', 'logprobs', { ...prompt, logprobs: true }],
  ['completion', 'suffix', { ...prompt, suffix: 5 }],
  ['embedding', 'input', { model: 'm' }],
  ['embedding', 'input', { ...input, input: Array(2_049).fill('x') }],
])('%s: a `%s` that is wrong or too large is refused by its name', (kind, param, body) => {
  expect(refusal(kind, body)).toEqual({ code: 'invalid_request', param });
});

test('the caps themselves are allowed', () => {
  const tokenList = Array(1_024).fill(1);
  const most = {
    n: 16,
    logprobs: true,
    top_logprobs: 20,
    prompt_logprobs: 20,
    stop: Array(16).fill('x'),
    tools: Array(128).fill({}),
  };
  expect(() => parse('chat', { ...hello, ...most, stop_token_ids: tokenList, max_tokens: 1 })).not.toThrow();
  expect(() => parse('completion', { ...prompt, prompt: Array(64).fill('x'), logprobs: 20 })).not.toThrow();
  expect(() => parse('embedding', { ...input, input: Array(2_048).fill('x') })).not.toThrow();
});

test.each([
  [{ type: 'image_url', image_url: { url: 'https://x' } }, '.type'],
  [{ type: 'input_audio', input_audio: {} }, '.type'],
  [{ type: 'video_url', video_url: {} }, '.type'],
  [{ type: 'file', file: {} }, '.type'],
  [{ type: 'image_embeds', image_embeds: 'x' }, '.type'],
  [{ image_url: 'https://x' }, '.type'],
  [{ type: 'text', text: 'x', uuid: 'u', image_url: 'https://x' }, '.image_url'],
  [{ type: 'text', text: 'x', uuid: 'u' }, '.uuid'],
  [5, ''],
])('the part %j is refused where it stands: this gateway prices text only', (part, place) => {
  const messages = [{ role: 'user', content: [{ type: 'text', text: 'Look:' }, part] }];
  expect(refusal('chat', { model: 'm', messages })).toEqual({
    code: 'invalid_request',
    param: `messages[0].content[1]${place}`,
  });
});
