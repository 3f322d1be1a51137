import { expect, test } from 'vitest';
import { anyPolicy } from '../router/policy.ts';
import { parseProvider } from './provider.ts';

test('who asks for nothing gets the soonest answer from anybody', () => {
  expect(parseProvider(undefined, undefined).policy).toEqual(anyPolicy);
  expect(parseProvider(undefined, {}).policy).toEqual(anyPolicy);
});

test('what header and body say holds both: lists meet, bans add up, the tighter limit counts', () => {
  const header = { sort: 'ttft', allow: { countries: ['no', 'SE'] }, deny: { operators: ['op_1'] }, max_ttft_ms: 500 };
  const body = {
    allow: { countries: ['SE', 'DE'] },
    deny: { operators: ['op_2'] },
    max_ttft_ms: 900,
    deadline_ms: 4_000,
  };
  expect(parseProvider(JSON.stringify(header), body).policy).toEqual({
    sort: 'ttft',
    maxTtftMs: 500,
    deadlineMs: 4_000,
    operators: { only: null, never: new Set(['op_1', 'op_2']) },
    workers: { only: null, never: new Set() },
    countries: { only: new Set(['SE']), never: new Set() },
  });
  const prices = parseProvider('{"max_price":{"prompt":1,"completion":2}}', { max_price: { prompt: 0.5 } });
  expect(prices.maxPrice).toEqual({ prompt: 0.5, completion: 2 });
});

test.each([
  ['provider', 'latency'],
  ['provider.sort', { sort: 'fast' }],
  ['provider.order', { order: ['op_1'] }],
  ['provider.allow.countries', { allow: { countries: 'NO' } }],
  ['provider.deny.regions', { deny: { regions: [] } }],
  ['provider.max_ttft_ms', { max_ttft_ms: -1 }],
  ['provider.deadline_ms', { deadline_ms: 1e9 }],
  ['provider.max_price.prompt', { max_price: { prompt: '1' } }],
])('a wish that cannot be heeded is refused by its name: %s', (param, wish) => {
  expect(() => parseProvider(undefined, wish)).toThrow(expect.objectContaining({ param }));
});

test('a header that is no JSON object is refused', () => {
  for (const header of ['sort=ttft', '[]', '"ttft"']) {
    expect(() => parseProvider(header, undefined)).toThrow(expect.objectContaining({ param: 'x-faregate-provider' }));
  }
});
