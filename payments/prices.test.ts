import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { testDatabase } from '../db/testing.ts';
import { affordableCompletionTokens, cost, operatorShare, type Price, PriceList, quote } from './prices.ts';
import { nanousdOf, unitsFor } from './units.ts';

const perMillion = fc.bigInt({ min: 0n, max: 100_000_000_000n });
const anyPrice: fc.Arbitrary<Price> = fc
  .record({
    input: perMillion,
    cachedInput: perMillion,
    output: perMillion,
    perMs: fc.bigInt({ min: 0n, max: 10n ** 6n }),
  })
  .map((fields) => ({
    version: 1,
    model: 'm',
    ...fields,
    cachedInput: fields.cachedInput < fields.input ? fields.cachedInput : fields.input,
  }));
const count = fc.integer({ min: 0, max: 1_000_000 });
const usage = fc.record({ promptTokens: count, cachedTokens: count, completionTokens: count, billedMs: count });

test('a cost is rounded once, up: a millionth of a nano-USD costs one', () => {
  const price = { version: 1, model: 'm', input: 1n, cachedInput: 1n, output: 1n, perMs: 0n };
  const used = { promptTokens: 3, cachedTokens: 1, completionTokens: 2, billedMs: 0 };
  expect(cost(price, used)).toBe(1n);
  expect(cost(price, { ...used, promptTokens: 0, cachedTokens: 0, completionTokens: 0 })).toBe(0n);
  expect(cost(price, { ...used, promptTokens: 999_999, completionTokens: 1 })).toBe(1n);
  expect(cost(price, { ...used, promptTokens: 999_999, completionTokens: 2 })).toBe(2n);
});

test('cached tokens, the other prompt tokens, completion tokens and milliseconds each have their price', () => {
  const price = { version: 1, model: 'm', input: 4_000_000n, cachedInput: 1_000_000n, output: 10_000_000n, perMs: 7n };
  expect(cost(price, { promptTokens: 10, cachedTokens: 4, completionTokens: 3, billedMs: 5 })).toBe(
    24n + 4n + 30n + 35n,
  );
});

test('T12: rounded once: a charge is never below the exact cost nor a nano-USD above it, a payment asked for never an atomic unit above', () => {
  fc.assert(
    fc.property(anyPrice, usage, (price, used) => {
      // In millionths of a nano-USD, in which prices are exact.
      const cached = used.cachedTokens < used.promptTokens ? used.cachedTokens : used.promptTokens;
      const exact =
        BigInt(used.promptTokens - cached) * price.input +
        BigInt(cached) * price.cachedInput +
        BigInt(used.completionTokens) * price.output +
        BigInt(used.billedMs) * price.perMs * 1_000_000n;
      const charged = cost(price, used);
      const asked = nanousdOf(unitsFor(charged));
      for (const [amount, step] of [
        [charged, 1n],
        [asked, nanousdOf(1n)],
      ] as const) {
        expect(amount * 1_000_000n).toBeGreaterThanOrEqual(exact);
        expect((amount - step) * 1_000_000n).toBeLessThan(exact === 0n ? 1n : exact);
      }
    }),
    { numRuns: 2_000 },
  );
});

test('nothing costs more than its quote', () => {
  fc.assert(
    fc.property(anyPrice, usage, usage, (price, used, spare) => {
      const bounds = {
        promptTokensMax: used.promptTokens + spare.promptTokens,
        completionTokensMax: used.completionTokens + spare.completionTokens,
        durationMsMax: used.billedMs + spare.billedMs,
      };
      expect(cost(price, used)).toBeLessThanOrEqual(quote(price, bounds));
    }),
  );
});

test('the share of the operator and the rest add up to the charge, the share rounded down', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 62n }), fc.integer({ min: 0, max: 1_000_000 }), (charged, ppm) => {
      const share = operatorShare(charged, ppm);
      expect(share).toBeLessThanOrEqual(charged);
      expect(share * 1_000_000n).toBeLessThanOrEqual(charged * BigInt(ppm));
      expect((share + 1n) * 1_000_000n).toBeGreaterThan(charged * BigInt(ppm));
    }),
  );
});

test('the affordable tokens are affordable, and one more is not (but for the most that any answer can have)', () => {
  const call = fc.record({
    promptTokensMax: count,
    durationMsMax: count,
    available: fc.bigInt({ min: 0n, max: 10n ** 13n }),
    sequences: fc.integer({ min: 1, max: 8 }),
  });
  fc.assert(
    fc.property(anyPrice, call, (price, { sequences, available, ...bounds }) => {
      const tokens = affordableCompletionTokens(price, { ...bounds, available, sequences });
      const quoteOf = (each: number) => quote(price, { ...bounds, completionTokensMax: each * sequences });
      if (tokens > 0) expect(quoteOf(tokens)).toBeLessThanOrEqual(available);
      if (tokens < 2 ** 31 - 1) expect(quoteOf(tokens + 1)).toBeGreaterThan(available);
    }),
  );
});

test('a price set in one gateway is in force in every other, and each change is a version of its own', async () => {
  await using database = await testDatabase();
  const here = await PriceList.open(database.sql);
  const there = await PriceList.open(database.sql);
  const fields = { input: 1n, cachedInput: 1n, output: 2n, perMs: 3n };
  const first = await here.set(database.sql, 'alpha', fields);
  expect(here.get('alpha')).toEqual({ model: 'alpha', version: first.version, ...fields });
  await vi.waitFor(() => expect(there.get('alpha')).toEqual(first));
  const second = await there.set(database.sql, 'alpha', { ...fields, output: 9n });
  expect(second.version).not.toBe(first.version);
  await vi.waitFor(() => expect(here.all()).toEqual([second]));
  expect(here.get('unknown')).toBeUndefined();
  await here.close();
  await there.close();
});
