/** GET /admin/v1/exceptions: calls that could not be posted as they stood. */
import { z } from 'zod';
import { listExceptions } from '../payments/exceptions.ts';
import { callExample } from './call-view.ts';
import { apiError } from './errors.ts';
import { defineRoute } from './route.ts';
import { listOf, money, page } from './route-schemas.ts';

const exception = z.strictObject({
  call: z.string(),
  account: z.string(),
  reason: z.string(),
  charged_nanousd: money,
  created_at: z.string(),
});

export const exceptionRoute = defineRoute({
  method: 'get',
  path: '/admin/v1/exceptions',
  summary:
    'Calls that could not be posted as they stood: `escrow_short`, whose lease did not cover them, were charged to prepaid money, then to yours; `month_archived`, found after their month was archived, were not charged.',
  security: 'admin',
  query: page,
  response: listOf(exception),
  example: {
    response: {
      object: 'list',
      data: [
        {
          call: callExample.id,
          account: 'acct_0198f3a09d8e7c6b5a4f3e2d1c0b9a87',
          reason: 'escrow_short',
          charged_nanousd: '128200',
          created_at: '2026-11-24T03:12:19.481Z',
        },
      ],
      has_more: false,
    },
  },
  async handler({ gateway, query: { limit, after = null } }) {
    if (after !== null && !z.uuid().safeParse(after).success) {
      throw apiError('invalid_request', '`after` is wrong: expected the id of a call.', { param: 'after' });
    }
    const { exceptions, hasMore } = await listExceptions(gateway.platform.database.sql, { limit, after });
    const data = exceptions.map(({ callId, accountId, reason, chargedNanousd, at }) => ({
      call: callId,
      account: accountId,
      reason,
      charged_nanousd: String(chargedNanousd),
      created_at: at,
    }));
    return { object: 'list' as const, data, has_more: hasMore };
  },
});
