import { expect, test } from 'vitest';
import { judgeStatus, readWorkerError, sanitise } from './fault.ts';

test.each([
  [
    'an OpenAI error',
    { error: { message: 'm', type: 'T', param: 'p', code: 400 } },
    { message: 'm', type: 'T', param: 'p', code: 400 },
  ],
  ['a string', { error: 'Unauthorized' }, { message: 'Unauthorized', param: null, code: null }],
  ['a detail', { detail: 'There was an error parsing the body' }, { message: 'There was an error parsing the body' }],
  ['the messages shape', { type: 'error', error: { type: 'T', message: 'm' } }, { message: 'm', type: 'T' }],
  ['plain text', 'Invalid HTTP request received.', { message: 'Invalid HTTP request received.' }],
])('an error that is %s comes out in one shape', (_, body, error) => {
  expect(readWorkerError(body)).toMatchObject(error);
});

test('an error without words has words all the same', () => {
  for (const body of [null, {}, { detail: [{ loc: ['body'] }] }]) {
    expect(readWorkerError(body).message).toMatch(/without saying why/);
  }
});

test('a caller learns no address, URL or path of a worker', () => {
  const text = sanitise(
    'at http://gpu-7.internal:8000/v1 (10.1.2.3:8000, [fd00::1]:80) model /models/llama/weights.bin',
  );
  expect(text).toBe('at <url> (<address>, <address>) model <path>');
});

test('words of the API survive sanitising', () => {
  const text = 'Use /v1/chat/completions; temperature must be in [0, 2], got 3.0. (parameter=temperature, value=3.0)';
  expect(sanitise(text)).toBe(text);
});

test('a request that is wrong is refused, a full worker is load, and every other status is the worker’s fault', () => {
  expect([400, 413, 422].map((status) => judgeStatus(status).kind)).toEqual(['refused', 'refused', 'refused']);
  const reasons = [429, 503, 401, 403, 404, 500, 502, 307, 405, 204].map((status) => judgeStatus(status));
  expect(reasons.map((verdict) => verdict.kind === 'fault' && verdict.reason)).toEqual([
    'load',
    'load',
    'credentials',
    'credentials',
    'not_found',
    ...Array(5).fill('http_error'),
  ]);
});
