import { expect, test } from 'vitest';
import { WholeReader } from './whole.ts';

const usage = { prompt_tokens: 3, completion_tokens: 1, total_tokens: 4 };
const choice = (index: number, finish_reason: unknown = 'stop') => ({
  index,
  message: { content: 'Hi' },
  finish_reason,
});

function read(answer: unknown, { status = 200, path = '/v1/chat/completions', sequences = 1 } = {}) {
  const reader = new WholeReader(status, { path, model: 'tiny', sequences });
  const bytes = new TextEncoder().encode(typeof answer === 'string' ? answer : JSON.stringify(answer));
  for (const byte of bytes) reader.read(Uint8Array.of(byte));
  return reader.end();
}

function judge(answer: unknown, expected: { path?: string; sequences?: number } = {}) {
  const end = read(answer, expected);
  return end.kind === 'broken' ? end.fault.reason : end.kind;
}

test('a whole answer is good when each choice asked for has finished and there is a usage to bill by', () => {
  expect(judge({ model: 'tiny', choices: [choice(0)], usage })).toBe('whole');
  expect(judge({ model: 'tiny', choices: [choice(0), choice(1, 'length')], usage }, { sequences: 2 })).toBe('whole');
});

test.each([
  ['an abort that nobody asked for', { model: 'tiny', choices: [choice(0, 'abort')], usage }, 'abort_finish'],
  ['no finish reason', { model: 'tiny', choices: [choice(0, null)], usage }, 'malformed'],
  ['a missing choice', { model: 'tiny', choices: [], usage }, 'malformed'],
  ['no usage', { model: 'tiny', choices: [choice(0)] }, 'malformed'],
  ['another model', { model: 'other', choices: [choice(0)], usage }, 'other_model'],
  ['text', 'Internal Server Error', 'malformed'],
  ['nothing', '', 'malformed'],
])('%s is a failure', (_, answer, reason) => {
  expect(judge(answer)).toBe(reason);
});

test('embeddings are judged by their number', () => {
  const data = [{ index: 0, embedding: [0.5] }];
  expect(judge({ model: 'tiny', data, usage }, { path: '/v1/embeddings' })).toBe('whole');
  expect(judge({ model: 'tiny', data, usage }, { path: '/v1/embeddings', sequences: 2 })).toBe('malformed');
});

test('an error status is judged by itself, its body read for words', () => {
  const error = { message: 'too long', type: 'BadRequestError', param: 'input_tokens', code: 400 };
  expect(read({ error }, { status: 400 })).toEqual({ kind: 'refused', status: 400, error });
  expect(read({ error: 'Unauthorized' }, { status: 401 })).toMatchObject({
    kind: 'broken',
    fault: { reason: 'credentials', detail: 'HTTP 401: Unauthorized' },
  });
  expect(read('', { status: 502 })).toMatchObject({ kind: 'broken', fault: { reason: 'http_error' } });
});

test('an error without end is given up', () => {
  const reader = new WholeReader(500, { path: '/v1/completions', model: 'tiny', sequences: 1 });
  expect(reader.read(new Uint8Array(60_000))).toBe(null);
  expect(reader.read(new Uint8Array(60_000))).toMatchObject({ reason: 'malformed' });
});
