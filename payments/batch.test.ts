import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Batch } from './batch.ts';

test('a batch gives each record back as it was, alone and in a list of any part, and counts the calls of each segment', () => {
  const record = fc.array(fc.string({ unit: 'grapheme', maxLength: 400 }), { minLength: 1 });
  const call = fc.record({ record, segment: fc.option(fc.nat(3)) });
  fc.assert(
    fc.property(fc.array(call, { minLength: 1, maxLength: 60 }), fc.nat(), fc.nat(), (calls, a, b) => {
      const batch = new Batch();
      for (const { record, segment } of calls) batch.add({ text: JSON.stringify(record), segment });
      const from = a % calls.length;
      const to = from + 1 + (b % (calls.length - from));
      const records = calls.map(({ record }) => record);
      expect(batch.size).toBe(calls.length);
      expect(JSON.parse(batch.list(from, to))).toEqual(records.slice(from, to));
      expect(JSON.parse(batch.record(from))).toEqual(records[from]);
      for (const segment of [0, 1, 2, 3])
        expect(batch.segments.get(segment) ?? 0).toBe(calls.filter((call) => call.segment === segment).length);
    }),
  );
});
