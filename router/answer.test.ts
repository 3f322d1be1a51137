import { expect, test } from 'vitest';
import { StreamReader } from './answer.ts';

const encode = (text: string) => new TextEncoder().encode(text);
const chat = (choice: object, more: object = {}) =>
  `data: ${JSON.stringify({ id: 'chatcmpl-1', model: 'tiny', choices: [{ index: 0, finish_reason: null, ...choice }], ...more })}\n\n`;
const role = chat({ delta: { role: 'assistant', content: '' } });
const word = chat({ delta: { content: 'Hi' } });
const stop = chat({ delta: {}, finish_reason: 'stop' });
const usage = 'data: {"model":"tiny","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}\n\n';
const done = 'data: [DONE]\n\n';

function read(text: string, { sequences = 1, model = 'tiny' } = {}) {
  const { events, end } = new StreamReader(model, sequences).read(encode(text));
  return { kinds: events.map(({ kind }) => kind), contents: events.map(({ content }) => content), end };
}

function reasonOf(text: string, sequences = 1) {
  const { end } = read(text, { sequences });
  return end?.kind === 'broken' ? end.fault.reason : end?.kind;
}

test('a proper chat stream is complete, each event with its kind', () => {
  const { kinds, end } = read(`: keep-alive\n\n${role}${word}${stop}${usage}${done}`);
  expect(kinds).toEqual(['comment', 'opening', 'content', 'finish', 'usage', 'done']);
  expect(end).toEqual({ kind: 'complete' });
});

test.each([
  ['text of completions', { text: 'Hi' }],
  ['content', { delta: { content: 'Hi' } }],
  ['reasoning', { delta: { reasoning: 'Hm' } }],
  ['reasoning under its older name', { delta: { reasoning_content: 'Hm' } }],
  ['a refusal', { delta: { refusal: 'No' } }],
  ['the name of a tool call', { delta: { content: null, tool_calls: [{ index: 0, function: { name: 'f' } }] } }],
])('%s is content', (_, choice) => {
  expect(read(chat(choice))).toMatchObject({ kinds: ['content'], contents: [true] });
});

test.each([
  ['the role', { delta: { role: 'assistant', content: '' } }],
  ['an empty delta', { delta: {} }],
  ['an empty piece of text', { text: '' }],
  ['an empty list of tool calls', { delta: { tool_calls: [] } }],
  ['null content', { delta: { content: null } }],
])('%s is not content: a fast fake first event gains nothing', (_, choice) => {
  expect(read(chat(choice))).toMatchObject({ kinds: ['opening'], contents: [false] });
});

test('a finish reason may ride on content', () => {
  expect(read(chat({ delta: { content: 'Hi' }, finish_reason: 'length' }))).toMatchObject({
    kinds: ['finish'],
    contents: [true],
  });
});

test('a bare [DONE] is a failure, and so is one before every choice has finished', () => {
  expect(reasonOf(done)).toBe('no_finish');
  expect(reasonOf(`${role}${done}`)).toBe('no_finish');
  expect(reasonOf(`${stop}${done}`, 2)).toBe('no_finish');
  expect(reasonOf(`${stop}${chat({ index: 1, delta: {}, finish_reason: 'length' })}${done}`, 2)).toBe('complete');
});

test('an abort that nobody asked for is a failure, with whatever came before it passed on', () => {
  const { kinds, end } = read(`${word}${chat({ delta: {}, finish_reason: 'abort' })}${done}`);
  expect(kinds).toEqual(['content']);
  expect(end).toMatchObject({ kind: 'broken', fault: { reason: 'abort_finish' } });
});

test('an error event is judged by its code: a full queue is load, a dead engine a fault, a bad request the caller’s', () => {
  const error = (code: number) => `data: {"error":{"message":"no","type":"T","param":null,"code":${code}}}\n\n`;
  expect(reasonOf(error(503))).toBe('load');
  expect(reasonOf(error(500))).toBe('error_event');
  expect(read(error(400)).end).toMatchObject({ kind: 'refused', status: 400, error: { message: 'no' } });
});

test('an answer of another model is a failure', () => {
  expect(read(word, { model: 'other' }).end).toMatchObject({ kind: 'broken', fault: { reason: 'other_model' } });
});

test.each([
  ['data that is not JSON', 'data: {"choices":\n\n'],
  ['data that is no object', 'data: 7\n\n'],
  ['no choices', 'data: {"model":"tiny"}\n\n'],
  ['a choice that is no object', 'data: {"model":"tiny","choices":[7]}\n\n'],
  ['an index that was not asked for', chat({ index: 1, delta: { content: 'x' } })],
  ['a finish reason that is no word', chat({ finish_reason: 7 })],
  ['bytes that cannot be cut into events', ': a\rb\n\n'],
])('%s breaks the stream', (_, text) => {
  expect(reasonOf(text)).toBe('malformed');
});

test('the running usage of a chunk is at hand, and its JSON was parsed once', () => {
  const { events } = new StreamReader('tiny', 1).read(encode(chat({ delta: {} }, { usage: { prompt_tokens: 3 } })));
  expect(events[0]?.usage).toEqual({ prompt_tokens: 3 });
  expect(events[0]?.usage).toBe(events[0]?.chunk?.usage);
});
