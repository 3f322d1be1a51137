/**
 * All that differs between asking a vLLM directly and asking it through the gateway, and why. The differential run allows
 * exactly this: what is listed must differ, what is not listed must not. Two rules have no entry of their own:
 *
 * Errors keep their status and name the same request field, but have one shape: the five shapes of vLLM become
 * `{"error":{message,type,param,code}}` with a word as code, and nothing about the machine of a worker passes.
 *
 * Streams are compared per choice, neighbouring pieces of text joined and the finish apart: whether two tokens come in one
 * event, with or without the finish reason, and which of two choices speaks first, is a matter of the engine's moment.
 */

export interface Where {
  /** Path inside an answer or an event, e.g. `usage.cost`. */
  readonly path: RegExp;
  readonly why: string;
}

/** Values that two runs never share: only their kind is compared. */
export const varying: readonly Where[] = [
  { path: /^id$/, why: 'vLLM makes it of the request id, which through the gateway is the call id' },
  { path: /^created$/, why: 'time' },
  { path: /\btool_calls\[\d+\]\.id$/, why: 'random' },
  {
    path: /\bprompt_tokens_details\.(cached|created_cache)_tokens$/,
    why: 'each tenant of the gateway has a prompt cache of its own',
  },
];

/** What the gateway adds to the `usage` that ends a call. */
export const added: readonly Where[] = [
  { path: /^usage\.cost$/, why: 'the charge in USD' },
  { path: /^usage\.faregate$/, why: 'the call, its charge, its times and where it ran' },
];

/** What a stream loses when its caller did not ask for usage. */
export const lostWithoutUsage: readonly Where[] = [
  {
    path: /^system_fingerprint$/,
    why: 'vLLM says it on the usage chunk if there is one; the gateway always asks for that chunk and keeps it to itself',
  },
];

export interface OwnAnswer {
  readonly status: number;
  readonly code?: string;
  readonly param?: string;
  readonly why: string;
}

const refused = (param: string, why: string): OwnAnswer => ({ status: 400, code: 'invalid_request', param, why });

const salted = refused('cache_salt', 'the gateway salts the cache, per tenant');
const endless = refused('ignore_eos', 'a model ends its own answers');
const nameless = refused('model', 'a price needs a model');
const notJson: OwnAnswer = { status: 415, code: 'unsupported_media_type', why: 'vLLM says 400' };
const wrongKind = refused('model', 'no worker is asked for what its model does not do');

/** Cases that the gateway answers itself, and otherwise than vLLM does. */
export const ownAnswers: Readonly<Record<string, OwnAnswer>> = {
  'chat-cache-first': salted,
  'chat-cache-second': salted,
  'chat-cache-other-salt': salted,
  'chat-turns-1': salted,
  'chat-turns-2': salted,
  'chat-turns-3': salted,
  'stream-chat-turns-4-usage': salted,
  'chat-eos-ignored-64': endless,
  'stream-chat-ignore-eos-64': endless,
  'stream-chat-long': endless,
  'variant-forced-usage-interval-5': endless,
  'variant-per-request-metrics': endless,
  'variant-stream-completion': endless,
  'chat-no-model': nameless,
  'error-model-null': nameless,
  'error-priority': refused('priority', 'the gateway orders calls'),
  'error-request-id-repeated': refused('request_id', 'the call id takes its place'),
  'error-content-type': notJson,
  'error-content-type-missing': notJson,
  'error-json-nan': {
    status: 400,
    code: 'invalid_json',
    why: 'NaN is not JSON; vLLM reads it and finds the temperature odd',
  },
  'error-top-logprobs-100': refused('top_logprobs', 'vLLM names another field, `logprobs`'),
  'completion-echo-only': refused('max_tokens', 'no call without an answer'),
  'embeddings-on-a-chat-model': wrongKind,
  'pooling-chat': wrongKind,
  'header-rank-1': { status: 200, why: 'the header steers the engine and is not passed on' },
  'get-v1-models-tiny': { status: 200, why: 'vLLM cannot show one model' },
};
