/** POST /v1/quote: the most that a call can cost, without holding anything. */
import { z } from 'zod';
import { inferencePaths } from './completions.ts';
import { parseInference } from './request.ts';
import type { RequestKind } from './request-fields.ts';
import { defineRoute } from './route.ts';
import { modelName, money } from './route-schemas.ts';
import { maxTokensOf, priceOf, worstCase } from './worst-case.ts';

const kindOfPath: ReadonlyMap<string, RequestKind> = new Map([
  [inferencePaths.chat, 'chat'],
  [inferencePaths.completion, 'completion'],
  [inferencePaths.embedding, 'embedding'],
]);

export const quoteCall = defineRoute({
  method: 'post',
  path: '/v1/quote',
  summary: 'The most that a call can cost: send what you would send to its endpoint. Nothing is held.',
  security: 'agent',
  body: z.looseObject({
    endpoint: z
      .enum([...kindOfPath.keys()])
      .default(inferencePaths.chat)
      .describe('the endpoint that the rest of the body is for'),
    model: modelName,
  }),
  response: z.strictObject({
    max_nanousd: money,
    prompt_tokens_max: z.int(),
    completion_tokens_max: z.int().describe('of all answers together'),
    price_version: z.int(),
  }),
  example: {
    body: {
      model: 'meta-llama/Llama-3.1-8B-Instruct',
      messages: [{ role: 'user', content: 'What is a fare gate?' }],
      max_tokens: 100,
    },
    response: { max_nanousd: '12192000', prompt_tokens_max: 560, completion_tokens_max: 100, price_version: 7 },
  },
  async handler({ gateway, body, bytes }) {
    const kind = kindOfPath.get(body.endpoint) ?? 'chat';
    const request = parseInference(kind, bytes, gateway.platform.config.limits);
    const price = priceOf(gateway, request.model);
    const maxTokens = maxTokensOf(gateway, request);
    return {
      max_nanousd: String(worstCase(gateway, request, price, maxTokens)),
      prompt_tokens_max: request.promptTokensMax,
      completion_tokens_max: maxTokens * request.sequences,
      price_version: price.version,
    };
  },
});
