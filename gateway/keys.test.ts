import { createHmac, createSecretKey, randomBytes } from 'node:crypto';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { keyHash, keyHint, keyPattern, mintKey, parseKey } from './keys.ts';

test.each(['live', 'test', 'op', 'adm'] as const)(
  'a minted fg_%s_ key has the published form and tells its kind',
  (kind) => {
    const key = mintKey(kind, randomBytes);
    expect(key).toMatch(keyPattern);
    expect(key).toHaveLength(`fg_${kind}_`.length + 36);
    expect(parseKey(key)).toEqual({ kind });
  },
);

test('a thousand keys are a thousand different keys', () => {
  const keys = Array.from({ length: 1_000 }, () => mintKey('live', randomBytes));
  expect(new Set(keys).size).toBe(1_000);
});

test('any one character mistyped makes it no key', () => {
  const key = mintKey('live', randomBytes);
  return fc.assert(
    fc.property(fc.nat({ max: key.length - 1 }), fc.string({ minLength: 1, maxLength: 1 }), (at, typed) => {
      fc.pre(typed !== key[at]);
      expect(parseKey(key.slice(0, at) + typed + key.slice(at + 1))).toBeNull();
    }),
  );
});

test('a key of one kind cannot pass for one of another', () => {
  const key = mintKey('live', randomBytes);
  expect(parseKey(key.replace('fg_live_', 'fg_test_'))).toBeNull();
  expect(parseKey(key.replace('fg_live_', 'fg_adm_'))).toBeNull();
});

test('junk, cut, lengthened and framed keys are no keys', () => {
  const key = mintKey('op', randomBytes);
  for (const text of ['', 'fg_op_', 'sk-abc', key.slice(0, -1), `${key}0`, ` ${key}`, `${key}\n`, key.toUpperCase()]) {
    expect(parseKey(text)).toBeNull();
  }
  return fc.assert(fc.property(fc.string(), (text) => parseKey(text) === null));
});

test('every digit is equally likely when every byte is', () => {
  let next = 0;
  const everyByte = (size: number) => Uint8Array.from({ length: size }, () => next++ % 256);
  const counts = new Map<string, number>();
  for (let keys = 0; keys < 248; keys++) {
    for (const digit of mintKey('test', everyByte).slice('fg_test_'.length, -6)) {
      counts.set(digit, (counts.get(digit) ?? 0) + 1);
    }
  }
  expect(counts.size).toBe(62);
  expect(new Set(counts.values())).toEqual(new Set([(248 * 30) / 62]));
});

test('the stored hash is HMAC-SHA-256 under the pepper, however the pepper is handed over', () => {
  const key = mintKey('live', randomBytes);
  const expected = createHmac('sha256', 'pepper').update(key).digest('hex');
  expect(keyHash('pepper', key)).toBe(expected);
  expect(keyHash(createSecretKey(Buffer.from('pepper')), key)).toBe(expected);
  expect(keyHash('another', key)).not.toBe(expected);
});

test('a hint shows the prefix and the last four characters', () => {
  const key = mintKey('live', randomBytes);
  expect(keyHint(key)).toBe(`fg_live_…${key.slice(-4)}`);
});
