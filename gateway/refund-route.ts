/** POST /admin/v1/calls/{id}/refunds: money back for a settled call. */
import { z } from 'zod';
import { type RefundRefusal, refundCall } from '../payments/refunds.ts';
import { callExample } from './call-view.ts';
import { type ApiError, apiError } from './errors.ts';
import { defineRoute } from './route.ts';
import { amount, label, money } from './route-schemas.ts';
import { settled } from './settled.ts';

export const refundRoute = defineRoute({
  method: 'post',
  path: '/admin/v1/calls/{id}/refunds',
  summary:
    'Give an agent back what a call cost it, or a part. The operator gives its share of it, as far as that is not paid out; you give the rest.',
  security: 'admin',
  body: z.strictObject({
    nanousd: amount.refine((nanousd) => nanousd > 0n, 'expected more than 0'),
    reason: label,
    reference: label.describe('once for each refund of the call: the same again changes nothing'),
  }),
  response: z.strictObject({
    txn: z.string(),
    call: z.string(),
    nanousd: money,
    operator_nanousd: money.describe('what of it came out of the earnings of the operator'),
    refundable_nanousd: money.describe('what is left of the charge'),
  }),
  example: {
    params: { id: callExample.id },
    body: { nanousd: '128200', reason: 'the answer was cut short', reference: 'ticket 4711' },
    response: {
      txn: '0198f3b2-0c4d-7a1e-8b2f-3c4d5e6f7a8b',
      call: callExample.id,
      nanousd: '128200',
      operator_nanousd: '115380',
      refundable_nanousd: '0',
    },
  },
  async handler({ gateway, params: { id }, body: { nanousd, reason, reference } }) {
    if (!z.uuid().safeParse(id).success) throw refusal({ code: 'call_not_found' });
    await settled(gateway);
    const request = { callId: id, amount: nanousd, reason, reference };
    const booked = await refundCall(gateway.platform.database.sql, request);
    if ('code' in booked) throw refusal(booked);
    return {
      txn: booked.txn,
      call: id,
      nanousd: String(booked.amount),
      operator_nanousd: String(booked.operatorAmount),
      refundable_nanousd: String(booked.refundable),
    };
  },
});

function refusal(refused: RefundRefusal): ApiError {
  switch (refused.code) {
    case 'call_not_found':
      return apiError('not_found', 'There is no settled call of this id.');
    case 'reference_conflict':
      return apiError('idempotency_mismatch', 'This reference was used for another amount: choose a new one.', {
        param: 'reference',
      });
    case 'above_charge':
      return apiError(
        'invalid_request',
        `No more than ${refused.refundable} nano-USD of this call can be given back.`,
        {
          param: 'nanousd',
        },
      );
  }
}
