import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { type KeyLimits, RateLimiter } from './ratelimit.ts';
import { fieldsOf } from './wire/fields.ts';

const roomy: KeyLimits = { requestsPerMinute: 1_000_000, tokensPerMinute: 1_000_000_000, openStreams: 1_000_000 };
const call = { tokens: 1, stream: false };

/** A limiter on a clock that the test moves. */
function limiterAt(startMs: number) {
  const clock = { ms: startMs };
  return { clock, limiter: new RateLimiter(() => clock.ms) };
}

test('a quiet key may take its whole minute at once, and not one call more', () => {
  const takesAll = fc.property(fc.integer({ min: 1, max: 300 }), fc.nat(1e9), (requestsPerMinute, startMs) => {
    const { limiter } = limiterAt(startMs);
    const limits = { ...roomy, requestsPerMinute };
    for (let n = 0; n < requestsPerMinute; n++) expect(limiter.admit('key', limits, call).ok).toBe(true);
    expect(limiter.admit('key', limits, call)).toMatchObject({ ok: false, which: 'requests' });
  });
  return fc.assert(takesAll);
});

test('who waits as long as told is admitted, and a millisecond less is not enough', () => {
  return fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 10_000 }),
      fc.nat(1_000_000),
      fc.nat(1_000_000),
      (tokensPerMinute, first, second) => {
        const { clock, limiter } = limiterAt(0);
        const limits = { ...roomy, tokensPerMinute };
        const demand = { tokens: 1 + (second % tokensPerMinute), stream: false };
        limiter.admit('key', limits, { tokens: 1 + (first % tokensPerMinute), stream: false });
        const refused = limiter.admit('key', limits, demand);
        if (refused.ok) return;
        const waitMs = refused.retryAfterMs ?? 0;
        clock.ms += waitMs - 1;
        expect(limiter.admit('key', limits, demand).ok).toBe(false);
        clock.ms += 1;
        expect(limiter.admit('key', limits, demand).ok).toBe(true);
      },
    ),
  );
});

const step = fc.record({
  waitMs: fc.oneof(fc.constant(0), fc.nat(500), fc.nat(40_000)),
  tokens: fc.integer({ min: 1, max: 1_200 }),
  used: fc.double({ min: 0, max: 1, noNaN: true }),
  releases: fc.array(fc.nat(50), { maxLength: 4 }),
});

test('no span of time sees more tokens used than one limit and what drains in it, whatever is given back and when', () => {
  const tokensPerMinute = 1_000;
  return fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { clock, limiter } = limiterAt(0);
      const open: { end: (tokens: number) => void; used: number }[] = [];
      const admitted: { atMs: number; used: number }[] = [];
      for (const { waitMs, tokens, used, releases } of steps) {
        clock.ms += waitMs;
        const answer = limiter.admit('key', { ...roomy, tokensPerMinute }, { tokens, stream: false });
        if (answer.ok) {
          const actual = Math.floor(tokens * used);
          open.push({ end: answer.release, used: actual });
          admitted.push({ atMs: clock.ms, used: actual });
        }
        for (const index of releases) {
          const [ended] = open.splice(index % Math.max(1, open.length), 1);
          ended?.end(ended.used);
        }
      }
      for (let from = 0; from < admitted.length; from++) {
        let sum = 0;
        for (const { atMs, used } of admitted.slice(from)) {
          sum += used;
          const spanMs = atMs - (admitted[from]?.atMs ?? 0);
          expect(sum).toBeLessThanOrEqual(tokensPerMinute * (1 + spanMs / 60_000) + 1e-3);
        }
      }
    }),
    { numRuns: 300 },
  );
});

test.each([
  { ranMs: 60_000, drained: 1_000, fitsAfter: 0 },
  { ranMs: 45_000, drained: 750, fitsAfter: 250 },
  { ranMs: 0, drained: 0, fitsAfter: 1_000 },
])('of an unused call that ran $ranMs ms, what drained meanwhile is not given back again', (example) => {
  const { clock, limiter } = limiterAt(0);
  const limits = { ...roomy, tokensPerMinute: 1_000 };
  const take = (tokens: number) => limiter.admit('key', limits, { tokens, stream: false });
  const unused = take(1_000);
  clock.ms += example.ranMs;
  if (example.drained > 0) expect(take(example.drained).ok).toBe(true);
  expect(take(1).ok).toBe(false);
  if (unused.ok) unused.release(0);
  if (example.fitsAfter > 0) expect(take(example.fitsAfter).ok).toBe(true);
  expect(take(1).ok).toBe(false);
});

test('what a call did not use is free at once for the next', () => {
  const { limiter } = limiterAt(5);
  const limits = { ...roomy, tokensPerMinute: 1_000 };
  const first = limiter.admit('key', limits, { tokens: 1_000, stream: false });
  expect(limiter.admit('key', limits, { tokens: 900, stream: false })).toMatchObject({ ok: false, which: 'tokens' });
  if (first.ok) first.release(100);
  expect(limiter.admit('key', limits, { tokens: 900, stream: false }).ok).toBe(true);
});

test('calls that end in any order give back all that they did not use', () => {
  return fc.assert(
    fc.property(fc.shuffledSubarray([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], { minLength: 10 }), (order) => {
      const { limiter } = limiterAt(0);
      const limits = { ...roomy, tokensPerMinute: 10_000 };
      const calls = order.map(() => limiter.admit('key', limits, { tokens: 1_000, stream: false }));
      for (const index of order) {
        const ended = calls[index];
        if (ended?.ok) ended.release(100);
      }
      expect(limiter.admit('key', limits, { tokens: 9_000, stream: false }).ok).toBe(true);
      expect(limiter.admit('key', limits, call).ok).toBe(false);
    }),
  );
});

test('a call larger than the limit itself is refused with no time to wait', () => {
  const { limiter } = limiterAt(0);
  const refused = limiter.admit('key', { ...roomy, tokensPerMinute: 100 }, { tokens: 101, stream: false });
  expect(refused).toMatchObject({ ok: false, which: 'tokens', retryAfterMs: null });
});

test('open streams are counted until each is released, once', () => {
  const { limiter } = limiterAt(0);
  const limits = { ...roomy, openStreams: 2 };
  const stream = { tokens: 1, stream: true };
  const first = limiter.admit('key', limits, stream);
  limiter.admit('key', limits, stream);
  expect(limiter.admit('key', limits, stream)).toMatchObject({ ok: false, which: 'streams', retryAfterMs: 1_000 });
  expect(limiter.admit('key', limits, call).ok).toBe(true);
  if (first.ok) {
    first.release(1);
    first.release(1);
  }
  expect(limiter.admit('key', limits, stream).ok).toBe(true);
  expect(limiter.admit('key', limits, stream).ok).toBe(false);
});

test('a refused call takes nothing of any limit', () => {
  const { limiter } = limiterAt(0);
  const limits = { requestsPerMinute: 2, tokensPerMinute: 100, openStreams: 1 };
  limiter.admit('key', limits, { tokens: 60, stream: true });
  for (let n = 0; n < 5; n++) {
    expect(limiter.admit('key', limits, { tokens: 60, stream: false })).toMatchObject({ ok: false, which: 'tokens' });
  }
  expect(limiter.admit('key', limits, { tokens: 40, stream: false }).ok).toBe(true);
});

test('one key never feels another', () => {
  const { limiter } = limiterAt(0);
  const limits = { ...roomy, requestsPerMinute: 1 };
  expect(limiter.admit('one', limits, call).ok).toBe(true);
  expect(limiter.admit('two', limits, call).ok).toBe(true);
  expect(limiter.admit('one', limits, call).ok).toBe(false);
});

test('the headers tell limit, rest and time to a full minute as OpenAI writes them, on both answers', () => {
  const { clock, limiter } = limiterAt(0);
  const limits = { requestsPerMinute: 60, tokensPerMinute: 6_000, openStreams: 1 };
  const admitted = limiter.admit('key', limits, { tokens: 6_000, stream: true });
  expect(admitted.ok && fieldsOf(admitted.lines)).toEqual({
    'x-ratelimit-limit-requests': '60',
    'x-ratelimit-limit-tokens': '6000',
    'x-ratelimit-remaining-requests': '59',
    'x-ratelimit-remaining-tokens': '0',
    'x-ratelimit-reset-requests': '1s',
    'x-ratelimit-reset-tokens': '1m0s',
  });
  clock.ms = 988;
  const limited = limiter.admit('key', limits, { tokens: 1, stream: true });
  expect(!limited.ok && limited.headers).toMatchObject({
    'x-ratelimit-remaining-requests': '59',
    'x-ratelimit-remaining-tokens': '98',
    'x-ratelimit-reset-requests': '12ms',
    'x-ratelimit-reset-tokens': '59.012s',
  });
});

test('keys that went quiet are forgotten, those with a call open are not', () => {
  const { clock, limiter } = limiterAt(0);
  limiter.admit('open', { ...roomy, openStreams: 1 }, { tokens: 1, stream: true });
  for (let n = 0; n < 10_000; n++) {
    clock.ms += 60;
    const answer = limiter.admit(`key ${n}`, roomy, call);
    if (answer.ok) answer.release(1);
  }
  expect(limiter.size).toBeLessThan(4_000);
  expect(limiter.admit('open', { ...roomy, openStreams: 1 }, { tokens: 1, stream: true }).ok).toBe(false);
});
