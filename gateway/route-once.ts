/** Ordinary routes under an `Idempotency-Key`: what a POST did is done once, its answer can be had again. */
import { errorResponse } from './errors.ts';
import { FetchExchange } from './exchange-fetch.ts';
import type { Gateway } from './platform.ts';
import type { Asked } from './replays.ts';
import { asApiError } from './unexpected.ts';
import { fieldLines } from './wire/fields.ts';

/** The answer of `respond`, or that of an earlier request with the same key. An error is not kept: the key may be used again. */
export async function respondOnce(
  gateway: Gateway,
  request: Request,
  asked: Asked,
  respond: () => Promise<Response>,
): Promise<Response> {
  if (!request.headers.has('idempotency-key')) return respond();
  const exchange = new FetchExchange(request, gateway.platform.config.limits);
  const answer = gateway.replays.join(exchange, asked);
  if (answer === null) return exchange.response;
  const claimed = gateway.replays.claim(answer, null) ?? Promise.resolve();
  const response = await claimed.then(respond).catch((error: unknown) => {
    gateway.replays.refuse(answer);
    return errorResponse(asApiError(gateway, error));
  });
  answer.head({ status: response.status, lines: fieldLines(Object.fromEntries(response.headers)) });
  answer.end(await response.text());
  return exchange.response;
}
