import { expect, test } from 'vitest';
import { judgeWhole } from './whole.ts';

const usage = { prompt_tokens: 3, completion_tokens: 1, total_tokens: 4 };
const choice = (index: number, finish_reason: unknown = 'stop') => ({
  index,
  message: { content: 'Hi' },
  finish_reason,
});

function judge(answer: unknown, { path = '/v1/chat/completions', sequences = 1 } = {}) {
  const text = typeof answer === 'string' ? answer : JSON.stringify(answer);
  const judgement = judgeWhole(new TextEncoder().encode(text), { path, model: 'tiny', sequences });
  return 'fault' in judgement ? judgement.fault.reason : 'good';
}

test('a whole answer is good when each choice asked for has finished and there is a usage to bill by', () => {
  expect(judge({ model: 'tiny', choices: [choice(0)], usage })).toBe('good');
  expect(judge({ model: 'tiny', choices: [choice(0), choice(1, 'length')], usage }, { sequences: 2 })).toBe('good');
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
  expect(judge({ model: 'tiny', data, usage }, { path: '/v1/embeddings' })).toBe('good');
  expect(judge({ model: 'tiny', data, usage }, { path: '/v1/embeddings', sequences: 2 })).toBe('malformed');
});
