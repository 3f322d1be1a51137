/** /llms.txt: what an agent must know to use this gateway, and nothing else. */
import type { Price } from '../payments/prices.ts';

/** The text, for a gateway that its callers know under `url` and the models that it sells now. */
export function llmsText(url: string, prices: readonly Price[]): string {
  return `# Faregate

> Pay-per-call inference on open models behind OpenAI's API. Prepaid balance, exact charge per call, no human needed.

## Use
- Base URL: ${url}/v1 (any OpenAI client: change base URL and key, nothing else)
- Auth: header \`Authorization: Bearer fg_live_…\`; the key comes from the host of this gateway, or with your first payment
- No key? Where the host takes wallets a call without one answers 402 with x402 (PAYMENT-REQUIRED) and MPP (WWW-Authenticate): pay USDC
  with a stock client, keep the header x-faregate-key of the answer; what the call did not cost is your balance
- Many calls from one wallet: x402 \`batch-settlement\` deposits once and signs a voucher for each; GET the same path gives the rest back
- All endpoints with schemas and examples: ${url}/openapi.json

## Endpoints
- POST /v1/chat/completions, /v1/completions, /v1/embeddings: as OpenAI, streaming or not
- GET /v1/models: models, context lengths, prices, your limits
- POST /v1/topups: pay ahead with a wallet; GET /v1/sign-in: the text to sign for SIGN-IN-WITH-X, which stands for a key on any route
- POST /v1/withdrawals: your money back to the wallet that paid it in
- POST /v1/quote: the most that a call can cost; send the body of the call, nothing is held
- GET /v1/account: balance_nanousd, held_nanousd, available_nanousd
- POST /v1/keys: a further key for a helper, with limits, a budget and an end, no wider than yours; GET lists, DELETE /v1/keys/{id} revokes
- GET /v1/calls, /v1/calls/{id}: what each call used and cost, and for the latest ones why it went to its worker
- GET /v1/usage?from=2026-11-01&per=day: what you used and paid, by minute, hour or day and model
- GET /v1/statements?from=2026-11-01&format=csv: all that moved your balance, settled up to the line closing
- GET /v1/calls/{id}/receipt: the same as a signed JWS; keys at ${url}/.well-known/jwks.json

## Where a call runs
- By itself: on the worker that is predicted to end it first. Member \`provider\` of the body, or the same JSON in the header
  x-faregate-provider: sort (latency, ttft, throughput, price), max_ttft_ms, deadline_ms, max_price {prompt, completion} in USD per
  million tokens, allow and deny {operators, workers, countries}. Retries keep to it. Both given: both hold
- Response headers: x-faregate-worker, -region, -attempts, -predicted-ttft-ms

## Money
- Unit: nano-USD (10^-9 USD), whole numbers as decimal strings in members named *_nanousd
- Before a call its worst case is held; after it what was used is charged and the rest is free again
- Held: prompt bound x input + max_tokens x output + time limit x per_ms. Set max_tokens to hold less
- Without max_tokens the answer is capped to what you can afford, told in the header x-faregate-max-tokens
- The charge is in the answer: usage.cost (USD) and usage.faregate.charged_nanousd

## Errors
Every error is {"error":{"message","type","param","code"}}; the message says what to do next.
- 402 insufficient_balance: top up, or ask for fewer max_tokens
- 402 payment_required, payment_invalid: pay as the headers say; 409 payment_used; 503 payment_pending: never pay again, repeat with the same payment
- Lost an answer? Send \`Idempotency-Key\` with every POST and repeat it: same answer, charged once, for 10 minutes
- 409 request_in_progress: the first request with this key still runs; wait retry-after-ms
- 409 answered_elsewhere, answer_lost: it was served and charged once, and its answer is at another gateway, or gone; GET /v1/calls/{id} in the message
- 429 rate_limited, 503 overloaded / no_worker / ledger_unavailable: wait retry-after-ms, then repeat
- 502 worker_failed: nothing was charged unless content was delivered; repeat
- 400 invalid_request: mend the field named in param; 404 model_not_found: see /v1/models

## Prices now (nano-USD per million tokens; per millisecond)
${prices.length === 0 ? '- none yet' : prices.map(priceLine).join('\n')}
`;
}

function priceLine({ model, input, cachedInput, output, perMs }: Price): string {
  return `- ${model}: input ${input}, cached input ${cachedInput}, output ${output}; ${perMs} per ms`;
}
