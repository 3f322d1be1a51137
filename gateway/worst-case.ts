/** What a call can cost at most, for its hold and for a quote alike. */
import { type Price, quote } from '../payments/prices.ts';
import { apiError } from './errors.ts';
import type { Exchange } from './exchange.ts';
import type { Purchase } from './offer.ts';
import type { Gateway } from './platform.ts';
import type { InferenceRequest } from './request.ts';

/** The price in force. A model without a price is refused, never free: `model_not_found`. */
export function priceOf(gateway: Gateway, model: string): Price {
  const price = gateway.prices.get(model);
  if (price !== undefined) return price;
  throw apiError('model_not_found', 'There is no such model here; GET /v1/models lists what there is.', {
    param: 'model',
  });
}

/**
 * Tokens per answer: as asked, else the longest that any worker of the model can give. Throws `no_worker` where there is none,
 * `invalid_request` when more is asked than any can give: no such amount need be held.
 */
export function maxTokensOf(gateway: Gateway, request: InferenceRequest): number {
  const longest = gateway.router.fleet
    .pool(request.model)
    .reduce((most, worker) => Math.max(most, worker.contextOf(request.model)), 0);
  if (longest === 0) {
    throw apiError('no_worker', 'No worker serves this model now: ask again.', { retryAfterMs: 5_000 });
  }
  if (request.maxTokens === null) return longest;
  if (request.maxTokens <= longest) return request.maxTokens;
  throw apiError('invalid_request', `This model's whole context is ${longest} tokens: ask for fewer.`, {
    param: 'max_tokens',
  });
}

/** The worst case in nano-USD: every token of the bounds and every millisecond of the time limit used, nothing cached. */
export function worstCase(gateway: Gateway, request: InferenceRequest, price: Price, maxTokens: number): bigint {
  return quote(price, {
    promptTokensMax: request.promptTokensMax,
    completionTokensMax: maxTokens * request.sequences,
    durationMsMax: gateway.platform.config.limits.totalMs,
  });
}

/** What a call would buy, for those who pay for it as they call. */
export function purchaseOf(
  gateway: Gateway,
  exchange: Exchange,
  call: { path: string; request: InferenceRequest; price: Price; maxTokens: number; body: Uint8Array },
): Purchase {
  const { path, request, price, maxTokens, body } = call;
  const amount = worstCase(gateway, request, price, maxTokens);
  const origin = gateway.platform.config.gatewayUrl ?? `http://${exchange.header('host') ?? 'localhost'}`;
  return {
    amount,
    shortens: request.maxTokens === null,
    isCall: true,
    url: `${origin.replace(/\/+$/, '')}${path}`,
    description: `Inference by ${request.model}`,
    body,
    breakdown: {
      max_nanousd: String(amount),
      prompt_tokens_max: request.promptTokensMax,
      completion_tokens_max: maxTokens * request.sequences,
      duration_ms_max: gateway.platform.config.limits.totalMs,
      price_version: price.version,
    },
  };
}
