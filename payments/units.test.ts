import fc from 'fast-check';
import { expect, test } from 'vitest';
import { nanousdOf, unitsFor, unitsWithin } from './units.ts';

const amount = fc.bigInt({ min: 0n, max: 9_223_372_036_854_775_807n });

test('a payer is asked for the amount or less than one unit more, a payee gets the amount or less than one unit less', () => {
  fc.assert(
    fc.property(amount, (nanousd) => {
      const [asked, paid] = [nanousdOf(unitsFor(nanousd)), nanousdOf(unitsWithin(nanousd))];
      expect(asked - nanousd).toBeGreaterThanOrEqual(0n);
      expect(asked - nanousd).toBeLessThan(nanousdOf(1n));
      expect(nanousd - paid).toBeGreaterThanOrEqual(0n);
      expect(nanousd - paid).toBeLessThan(nanousdOf(1n));
    }),
  );
});
