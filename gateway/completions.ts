/** The story of one call: authenticate, parse, quote, pay, hold, route and dispatch, relay, capture. */
import type { Hold } from '../payments/holds.ts';
import type { Refusal } from '../payments/leases.ts';
import { affordableCompletionTokens, type Price } from '../payments/prices.ts';
import type { Candidates } from '../router/candidates.ts';
import { type Dispatched, dispatch } from '../router/dispatch.ts';
import { BLOCK_BYTES, prefixOf } from '../router/prefix.ts';
import { admitCall } from './admission.ts';
import { Call } from './call.ts';
import { failure, refusedByWorker, shuttingDown, tooDear, tooLate } from './call-errors.ts';
import { JSON_TYPE, linesOf } from './call-lines.ts';
import { type ApiError, apiError, errorBody, errorHeaders } from './errors.ts';
import { DeadlineExceeded, Draining, type Exchange, type Responder } from './exchange.ts';
import { askedBy, identify, pay } from './paywall.ts';
import type { Gateway } from './platform.ts';
import type { MaxPrice } from './provider.ts';
import type { Admitted } from './ratelimit.ts';
import { deliverWhole, lateReceipt, relayStream, StreamHead } from './relay.ts';
import { parseInference } from './request.ts';
import type { RequestKind } from './request-fields.ts';
import { asApiError } from './unexpected.ts';
import { maxTokensOf, priceOf, purchaseOf, worstCase } from './worst-case.ts';

export const inferencePaths = {
  chat: '/v1/chat/completions',
  completion: '/v1/completions',
  embedding: '/v1/embeddings',
} as const satisfies Record<RequestKind, string>;

/** The money for a call, and for how many tokens of each answer it is. */
interface Held {
  readonly hold: Hold;
  readonly maxTokens: number;
}

const NANO = 1e9;
const NOBODY: ReadonlySet<string> = new Set();

/** Answers one inference call. Never throws: whatever goes wrong reaches the caller in OpenAI's shape. */
export async function serveCall(gateway: Gateway, exchange: Exchange, kind: RequestKind): Promise<void> {
  const call = new Call(gateway, kind);
  let answer: Responder = exchange;
  try {
    if (!gateway.serving) throw shuttingDown();
    const known = identify(gateway, exchange);
    const caller = known instanceof Promise ? await known : known;
    requireJson(exchange);
    const here = exchange.body();
    const body = here instanceof Promise ? await here : here;
    const path = inferencePaths[kind];
    const joined = gateway.replays.join(exchange, askedBy(caller, path, body));
    if (joined === null) return;
    answer = joined;
    const wishes = exchange.header('x-faregate-provider');
    const request = parseInference(kind, body, gateway.platform.config.limits, wishes);
    const price = priceOf(gateway, request.model);
    const maxTokens = maxTokensOf(gateway, request);
    // Before anything is paid; what the key wants is known after.
    requireAffordable(price, request.provider.maxPrice);
    const claim = gateway.replays.claim(joined, call.id);
    if (claim !== null) await claim;
    const purchase = () => purchaseOf(gateway, exchange, { path, request, price, maxTokens, body });
    const paid = pay(gateway, caller, purchase);
    const fare = paid instanceof Promise ? await paid : paid;
    let admission: Admitted | null = null;
    try {
      call.begin(fare, request, price, joined.control);
      requireAffordable(price, call.provider.maxPrice);
      admission = admitted(gateway, call);
      await servePaid(gateway, joined, call, maxTokens);
    } finally {
      admission?.release(call.tokensUsed);
      if (fare.tab !== null) await fare.tab.close(0n);
    }
  } catch (error) {
    const refusal = asApiError(gateway, error);
    gateway.metrics.refused(refusal.code);
    gateway.replays.refuse(answer);
    refuse(answer, call, refusal);
  }
}

/** From the hold to the receipt. */
async function servePaid(gateway: Gateway, exchange: Responder, call: Call, wantedTokens: number): Promise<void> {
  const promised = holdWorstCase(gateway, call, wantedTokens);
  const { hold, maxTokens } = promised instanceof Promise ? await promised : promised;
  call.held(hold, maxTokens);
  const open = gateway.openCalls.add(call);
  const head = new StreamHead(exchange, call);
  const total = setTimeout(() => exchange.control.abort(new DeadlineExceeded()), call.longestMs);
  try {
    const answer = await dispatch(gateway.router, dispatchRequest(gateway, exchange, call, maxTokens));
    head.stopWaiting();
    const known = call.tried(answer);
    if (known !== null) await known;
    await deliver(exchange, call, answer);
  } catch (error) {
    // Nothing may leave a hold standing, not even a fault of ours.
    await call.close('failed', { billable: false });
    throw error;
  } finally {
    head.stopWaiting();
    clearTimeout(total);
    gateway.openCalls.remove(open);
  }
}

function deliver(exchange: Responder, call: Call, answer: Dispatched): Promise<void> {
  switch (answer.kind) {
    case 'stream':
      return relayStream(exchange, call, answer);
    case 'whole':
      return deliverWhole(exchange, call, answer);
    case 'refused':
      return closeFree(call, refusedByWorker(answer.status, answer.error));
    case 'failed':
      return closeFree(call, failure(answer));
    case 'aborted':
      return closeAborted(exchange, call, answer);
  }
}

/** Nothing was delivered, and nothing is charged. */
async function closeFree(call: Call, error: ApiError): Promise<never> {
  await call.close('failed', { billable: false });
  throw error;
}

/** A caller who leaves after dispatch pays its prompt; a call that the gateway itself ends before any content is free. */
async function closeAborted(
  exchange: Responder,
  call: Call,
  answer: Extract<Dispatched, { kind: 'aborted' }>,
): Promise<void> {
  const { reason } = exchange.control.signal;
  if (reason instanceof Draining) return closeFree(call, shuttingDown());
  if (reason instanceof DeadlineExceeded) return closeFree(call, tooLate(call));
  if (answer.attempt !== null) await call.decidedBy(answer.attempt);
  const again = await exchange.askedAgain?.();
  await call.close('aborted', { billable: answer.dispatched && again !== true });
}

/** Holds the most that the call can cost. Without an explicit `max_tokens` the output is cut to what is affordable. */
function holdWorstCase(gateway: Gateway, call: Call, maxTokens: number): Held | Promise<Held> {
  const amount = worstCase(gateway, call.request, call.price, maxTokens);
  const outcome = holdWithin(gateway, call, amount);
  if (!(outcome instanceof Promise)) return { hold: outcome, maxTokens };
  return outcome.then((late) =>
    'code' in late ? holdLess(gateway, call, { amount, maxTokens, refusal: late }) : { hold: late, maxTokens },
  );
}

/** After a refusal: holds for as many tokens as there is money for, or says why not. */
function holdLess(
  gateway: Gateway,
  call: Call,
  { amount, maxTokens, refusal }: { amount: bigint; maxTokens: number; refusal: Refusal },
): Held | Promise<Held> {
  if (refusal.code === 'ledger_unavailable') {
    throw apiError('ledger_unavailable', 'The ledger is away and this call is not covered yet: ask again.', {
      retryAfterMs: refusal.retryAfterMs,
    });
  }
  const { request, price, limits } = call;
  const { available, budget } = refusal;
  const affordable =
    request.maxTokens === null
      ? affordableCompletionTokens(price, {
          promptTokensMax: request.promptTokensMax,
          durationMsMax: limits.totalMs,
          available,
          sequences: request.sequences,
        })
      : 0;
  if (affordable < limits.clampTokensMin || affordable >= maxTokens) throw tooDear(call, amount, available, budget);
  return holdWorstCase(gateway, call, affordable);
}

/** A call that is paid by the use holds no more than its payer signed for it, whatever else its account has. */
function holdWithin(gateway: Gateway, { id, fare }: Call, amount: bigint): Hold | Promise<Hold | Refusal> {
  const { tab } = fare;
  if (tab !== null && amount > tab.most)
    return Promise.resolve({ code: 'insufficient_balance', available: tab.most, budget: null });
  const { ownerId: accountId, keyId, budgets } = fare.principal;
  return gateway.ledger.holds.hold({ callId: id, accountId, keyId, budgets, amount });
}

function dispatchRequest(gateway: Gateway, exchange: Responder, call: Call, maxTokens: number) {
  const { request, limits, fare } = call;
  const cacheSalt = gateway.cacheSalt(fare.principal.ownerId);
  const isEmbedding = request.kind === 'embedding';
  return {
    need: {
      model: request.model,
      promptTokens: call.meter.estimatedPromptTokens,
      outputTokens: call.expectedTokens(maxTokens),
      tokensMax: request.promptTokensMax + maxTokens,
      sequences: request.sequences,
      showsContent: request.stream || isEmbedding,
      prefix: request.bodyBytes < BLOCK_BYTES ? null : prefixOf(cacheSalt + request.model, request.promptPieces()),
      policy: call.provider.policy,
      kind: isEmbedding ? ('embedding' as const) : ('generation' as const),
      exclude: NOBODY,
    },
    path: inferencePaths[request.kind],
    body: request.upstreamBody({ maxTokens, cacheSalt }),
    onChoice: (candidates: Candidates) => gateway.choices.note(call.id, candidates),
    stream: request.stream,
    callId: call.id,
    signal: exchange.control.signal,
    deadlineAtMs: call.startedMs + call.longestMs,
    limits,
  };
}

/** Takes what the call may need from the limits of the key and of those above it; what was too much of it goes back at the release. */
function admitted(gateway: Gateway, call: Call): Admitted {
  const { fare, request } = call;
  const tokens = request.promptTokensMax + (request.maxTokens ?? call.limits.assumedOutputTokens) * request.sequences;
  const admission = admitCall(gateway.rateLimiter, fare.principal, { tokens, stream: request.stream });
  call.rateLines = admission.lines;
  return admission;
}

function requireJson(exchange: Exchange): void {
  const type = exchange.header('content-type') ?? '';
  if (/^application\/json\b/i.test(type)) return;
  throw apiError('unsupported_media_type', 'Send the body as JSON with `content-type: application/json`.');
}

/** Prices are a model's, the same on every worker: one that is above the caller's limit is so everywhere. */
function requireAffordable(price: Price, { prompt, completion }: MaxPrice): void {
  const isAbove = (nanousd: bigint, usd: number | null) => usd !== null && Number(nanousd) > usd * NANO;
  if (!isAbove(price.input, prompt) && !isAbove(price.output, completion)) return;
  throw apiError('invalid_request', 'This model costs more than your max_price; GET /v1/models lists the prices.', {
    param: 'provider.max_price',
  });
}

/** Tells the caller, with a status while that is still possible, otherwise inside the stream. */
function refuse(exchange: Responder, call: Call, error: ApiError): void {
  if (exchange.headSent) {
    exchange.end(`${lateReceipt(call)}data: ${errorBody(error)}\n\ndata: [DONE]\n\n`);
    return;
  }
  const headers = errorHeaders(error);
  const lines = linesOf(call, JSON_TYPE, headers);
  exchange.head({ status: error.status, lines, closes: headers.connection === 'close' });
  exchange.end(errorBody(error));
}
