import { Buffer } from 'node:buffer';
import * as fc from 'fast-check';
import { encode } from 'gpt-tokenizer/encoding/cl100k_base';
import { expect, test } from 'vitest';
import { parseInference } from './request.ts';
import { defaultRequestLimits } from './request-checks.ts';

/** Room for the words below and no more, so that the bound itself is tested and not the allowance. */
const limits = { ...defaultRequestLimits, templateTokens: 16, toolTemplateTokens: 64 };

interface Message {
  role: string;
  content?: string | null | { type: 'text'; text: string }[];
  name?: string;
  tool_call_id?: string;
  tool_calls?: { id: string; type: 'function'; function: { name: string; arguments: string } }[];
}
interface Chat {
  model: string;
  messages: Message[];
  tools?: unknown[];
}

function countTokens(text: string): number {
  return encode(text, { disallowedSpecial: new Set() }).length;
}

/** ChatML with tools, as the widest-spread templates write it: tools indented, arguments parsed and printed anew, results quoted. */
function render(chat: Chat): string {
  const tools =
    chat.tools && `You may call these tools. Answer with <tool_call> tags.\n${JSON.stringify(chat.tools, null, 4)}\n`;
  const names = new Map(chat.messages.flatMap((m) => m.tool_calls ?? []).map((call) => [call.id, call.function.name]));
  const messages = chat.messages.map((message) => {
    const { content } = message;
    const text = typeof content === 'string' ? content : (content ?? []).map((part) => part.text).join('\n');
    const calls = (message.tool_calls ?? []).map((call) => {
      const given = JSON.stringify(JSON.parse(call.function.arguments), null, 1);
      return `\n<tool_call>\n{"name": "${call.function.name}", "arguments": ${given}}\n</tool_call>`;
    });
    const shown =
      message.role === 'tool' ? `${names.get(message.tool_call_id ?? '') ?? ''}: ${JSON.stringify(text)}` : text;
    return `<|im_start|>${message.role}${message.name ? ` ${message.name}` : ''}\n${shown}${calls.join('')}<|im_end|>\n`;
  });
  return `${tools ?? ''}${messages.join('')}<|im_start|>assistant\n`;
}

function boundOf(chat: Chat, space?: number): number {
  return parseInference('chat', Buffer.from(JSON.stringify(chat, null, space)), limits).promptTokensMax;
}

const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 200 }),
  fc.string({ unit: 'binary', maxLength: 100 }),
  fc
    .array(fc.constantFrom('"', '\n', '\\', '\u0001', '🜁', '한', 'ﷺ', 'the ', '\u00a0'), { maxLength: 100 })
    .map((p) => p.join('')),
);
const name = fc.string({ unit: fc.constantFrom('a', 'Z', '_', '9'), minLength: 1, maxLength: 64 });
const schema = fc.dictionary(name, fc.jsonValue({ maxDepth: 4 }), { maxKeys: 6 });
const tool = fc.record({
  type: fc.constant('function'),
  function: fc.record({ name, description: text, parameters: schema }),
});
const called = fc.record({
  id: name,
  type: fc.constant('function' as const),
  function: fc.record({
    name,
    arguments: fc.dictionary(name, fc.oneof(text, fc.integer())).map((given) => JSON.stringify(given)),
  }),
});
const message: fc.Arbitrary<Message> = fc.oneof(
  fc.record({ role: fc.constantFrom('system', 'user', 'assistant', 'king'), content: text }),
  fc.record({
    role: fc.constant('user'),
    name,
    content: fc.array(fc.record({ type: fc.constant('text' as const), text })),
  }),
  fc.record({
    role: fc.constant('assistant'),
    content: fc.constant(null),
    tool_calls: fc.array(called, { maxLength: 3 }),
  }),
  fc.record({ role: fc.constant('tool'), tool_call_id: name, content: text }),
);
const chat: fc.Arbitrary<Chat> = fc.record(
  {
    model: fc.constant('m'),
    messages: fc.array(message, { minLength: 1, maxLength: 6 }),
    tools: fc.array(tool, { minLength: 1, maxLength: 3 }),
  },
  { requiredKeys: ['model', 'messages'] },
);

test('no conversation has more tokens than its bound, tools and calls included', () => {
  const bounded = fc.property(chat, fc.constantFrom(undefined, 2), (given, space) => {
    expect(countTokens(render(given))).toBeLessThanOrEqual(boundOf(given, space));
  });
  return fc.assert(bounded, { numRuns: 300 });
});

test('the bound of plain text is its bytes and a small remainder', () => {
  const one = boundOf({ model: 'm', messages: [{ role: 'user', content: 'x' }] });
  const many = boundOf({ model: 'm', messages: [{ role: 'user', content: 'é'.repeat(10_000) }] });
  expect(many - one).toBe(19_999);
  expect(one).toBeLessThan(100 + limits.templateTokens);
});

test('tools and a schema for the answer count, for templates print them', () => {
  const plain = { model: 'm', messages: [{ role: 'user', content: 'x' }] };
  const schemaOf = { type: 'json_schema', json_schema: { name: 'x', schema: { description: 'y'.repeat(1_000) } } };
  expect(boundOf({ ...plain, tools: [schemaOf] }) - boundOf(plain)).toBeGreaterThan(1_000 + limits.toolTemplateTokens);
  expect(boundOf({ ...plain, ...{ response_format: schemaOf } }) - boundOf(plain)).toBeGreaterThan(1_000);
});

test('a name that every result may repeat is counted for every result', () => {
  const called = { id: '1', type: 'function' as const, function: { name: 'n'.repeat(500), arguments: '{}' } };
  const assistant = { role: 'assistant', tool_calls: [called] };
  const result = { role: 'tool', tool_call_id: '1', content: '' };
  const two = boundOf({ model: 'm', messages: [assistant, result, result] });
  const one = boundOf({ model: 'm', messages: [assistant, result] });
  expect(two - one).toBeGreaterThan(500);
});

test('fields that no template sees do not count', () => {
  const plain = { model: 'm', messages: [{ role: 'user', content: 'x' }] };
  const extras = { user: 'u'.repeat(1_000), stop: ['s'.repeat(1_000)], metadata: { a: 'b'.repeat(1_000) } };
  expect(boundOf({ ...plain, ...extras })).toBe(boundOf(plain));
});

const bare = fc.oneof(text, fc.array(text, { minLength: 1, maxLength: 5 }));

test('no bare prompt has more tokens than its bound; a list counts as the sum of its prompts', () => {
  const bounded = fc.property(bare, fc.constantFrom('completion' as const, 'embedding' as const), (prompt, kind) => {
    const body = Buffer.from(JSON.stringify({ model: 'm', prompt, input: prompt }));
    const actual = [prompt].flat().reduce((sum, one) => sum + countTokens(one), 0);
    expect(actual).toBeLessThanOrEqual(parseInference(kind, body, limits).promptTokensMax);
  });
  return fc.assert(bounded);
});

test.each([
  { prompt: [5, 6, 7], tokens: 3, prompts: 1 },
  { prompt: [[5, 6], [7]], tokens: 3, prompts: 2 },
  { prompt: ['abc', [5, 6]], tokens: 5, prompts: 2 },
])('token ids count one each: $prompt', ({ prompt, tokens, prompts }) => {
  const request = parseInference('completion', Buffer.from(JSON.stringify({ model: 'm', prompt, n: 3 })), limits);
  expect(request.promptTokensMax).toBe(tokens + prompts * 8);
  expect(request.sequences).toBe(prompts * 3);
});

test('what follows the gap of a completion is part of each prompt', () => {
  const bound = (body: object) =>
    parseInference('completion', Buffer.from(JSON.stringify(body)), limits).promptTokensMax;
  const plain = bound({ model: 'm', prompt: ['a', 'b'] });
  expect(bound({ model: 'm', prompt: ['a', 'b'], suffix: 'x'.repeat(100) }) - plain).toBeGreaterThanOrEqual(200);
});
