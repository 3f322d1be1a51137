/** GET /v1/usage: how much an agent used and paid over time. */
import { z } from 'zod';
import { usageOf, usageSteps } from '../payments/usage.ts';
import { apiError } from './errors.ts';
import { defineRoute } from './route.ts';
import { listOf, moment, money } from './route-schemas.ts';
import { settled } from './settled.ts';

const STEPS_MAX = 1_500;

const count = z.string().regex(/^\d+$/).describe('a whole number as a decimal string');

export const getUsage = defineRoute({
  method: 'get',
  path: '/v1/usage',
  summary:
    'What your calls used and cost from `from` to before `to` (now), by `per` (hour) of UTC and model. A call counts when it is settled; at most 1,500 steps at once.',
  security: 'agent',
  query: z.strictObject({
    from: moment,
    to: moment.optional(),
    per: z.enum(['minute', 'hour', 'day']).default('hour'),
  }),
  response: listOf(
    z.strictObject({
      start: z.iso.datetime(),
      model: z.string(),
      calls: count,
      prompt_tokens: count,
      cached_tokens: count,
      completion_tokens: count,
      billed_ms: count,
      charged_nanousd: money,
    }),
  ),
  example: {
    query: { from: '2026-11-24', per: 'hour' },
    response: {
      object: 'list',
      data: [
        {
          start: '2026-11-24T03:00:00.000Z',
          model: 'meta-llama/Llama-3.1-8B-Instruct',
          calls: '41',
          prompt_tokens: '8044',
          cached_tokens: '5120',
          completion_tokens: '2907',
          billed_ms: '31882',
          charged_nanousd: '4113220',
        },
      ],
      has_more: false,
    },
  },
  async handler({ gateway, principal, query: { from, to = new Date().toISOString(), per } }) {
    if (from >= to) throw apiError('invalid_request', '`from` is before `to` and before now.', { param: 'from' });
    if (Date.parse(to) - Date.parse(from) > STEPS_MAX * usageSteps[per] * 1_000) {
      throw apiError('invalid_request', `That is more than ${STEPS_MAX} steps of a ${per}: ask for less.`, {
        param: 'per',
      });
    }
    await settled(gateway);
    const sums = await usageOf(gateway.platform.database.sql, { accountId: principal.ownerId, from, to, step: per });
    const data = sums.map((sum) => ({
      start: sum.start,
      model: sum.model,
      calls: String(sum.calls),
      prompt_tokens: String(sum.promptTokens),
      cached_tokens: String(sum.cachedTokens),
      completion_tokens: String(sum.completionTokens),
      billed_ms: String(sum.billedMs),
      charged_nanousd: String(sum.chargedNanousd),
    }));
    return { object: 'list' as const, data, has_more: false };
  },
});
