import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseNanousd, usdLiteral } from './money.ts';

test('a whole decimal amount up to the largest bigint is read, anything else is refused', () => {
  expect(parseNanousd('0')).toBe(0n);
  expect(parseNanousd('9223372036854775807')).toBe(9_223_372_036_854_775_807n);
  for (const text of [
    '',
    '-1',
    '+1',
    '1.0',
    '1e3',
    '01',
    ' 1',
    '0x10',
    '9223372036854775808',
    '99999999999999999999',
  ]) {
    expect(parseNanousd(text), text).toBeNull();
  }
});

test('the literal in US dollars is exact', () => {
  expect(usdLiteral(1234n)).toBe('0.000001234');
  expect(usdLiteral(2_500_000_000n)).toBe('2.5');
  expect(usdLiteral(0n)).toBe('0');
  expect(usdLiteral(-1n)).toBe('-0.000000001');
});

test('the literal read back as a decimal is the amount, and is valid JSON', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (amount) => {
      const literal = usdLiteral(amount);
      expect(literal).toMatch(/^-?(0|[1-9]\d*)(\.\d*[1-9])?$/);
      const [whole = '', fraction = ''] = literal.replace('-', '').split('.');
      const size = BigInt(whole) * 1_000_000_000n + BigInt(fraction.padEnd(9, '0'));
      expect(literal.startsWith('-') ? -size : size).toBe(amount);
    }),
  );
});
