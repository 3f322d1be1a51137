import fc from 'fast-check';
import { expect, test } from 'vitest';
import { columnsOf, cutOffText, openingText, recordOf, recordText, unused } from './record.ts';
import { closing } from './testing.ts';

const holding = { callId: 'call', accountId: 'acct_1', keyId: 'key_1', leaseId: 'lse_1', amount: 500n };
const opening = openingText(holding, closing(1));

test('a record is JSON that says what is known, whatever models and regions are called, and by its names it is the same', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'binary' }), (model, region) => {
      const call = { ...closing(7, { region }), model };
      const text = recordText(holding, call, { charged: 7n, share: 3n });
      expect(recordOf(columnsOf(text))).toBe(text);
      expect(columnsOf(text)).toMatchObject({
        id: 'call',
        lease_id: 'lse_1',
        model,
        region,
        streamed: call.streamed,
        completion_tokens: call.completionTokens,
        held_nanousd: '500',
        charged_nanousd: '7',
        operator_nanousd: '3',
        ttft_ms: call.ttftMs,
      });
    }),
  );
});

test('what is not known is null, and what no column can hold is refused', () => {
  const none = closing(1, { workerId: null, operatorId: null, region: null, queueMs: null, ttftMs: null });
  expect(columnsOf(recordText(holding, none, { charged: 0n, share: 0n }))).toMatchObject({
    worker_id: null,
    operator_id: null,
    region: null,
    queue_ms: null,
    ttft_ms: null,
  });
  for (const billedMs of [-1, 0.5, 2 ** 31])
    expect(() => recordText(holding, closing(1, { billedMs }), { charged: 0n, share: 0n })).toThrow(RangeError);
});

test('a call that was cut off at its opening has used nothing, one at a later record what stands there', () => {
  expect(cutOffText(opening)).toBe(recordText(holding, unused(closing(1), 'aborted'), { charged: 0n, share: 0n }));
  const money = { charged: 9n, share: 4n };
  const later = recordText(holding, closing(9, { outcome: 'failed' }), money);
  expect(cutOffText(later)).toBe(recordText(holding, closing(9, { outcome: 'aborted' }), money));
});

test('an opening by its names is an opening again', () => {
  expect(recordOf(columnsOf(opening))).toBe(opening);
});
