/**
 * All that differs between asking a vLLM directly and asking it through the gateway, and why. The differential run allows
 * exactly this: what is listed must differ, what is not listed must not.
 */

interface Where {
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

export const errors = {
  why:
    'an error keeps its status and names the same request field, but has one shape: the five shapes of vLLM become ' +
    '{"error":{message,type,param,code}} with a word as code, and nothing about the machine of a worker passes',
};

export const chunking = {
  why:
    'where one token ends is a matter of time: vLLM may send two tokens in one event when it is busy, with or without the ' +
    'finish reason, and two choices in any order. So events are compared per choice, with neighbouring pieces of text joined',
};

export interface OwnAnswer {
  readonly status: number;
  readonly code?: string;
  readonly param?: string;
  readonly why: string;
}

const salted: OwnAnswer = {
  status: 400,
  code: 'invalid_request',
  param: 'cache_salt',
  why: 'the gateway salts the cache per tenant',
};
const endless: OwnAnswer = {
  status: 400,
  code: 'invalid_request',
  param: 'ignore_eos',
  why: 'a model ends its own answers',
};
const nameless: OwnAnswer = { status: 400, code: 'invalid_request', param: 'model', why: 'a price needs a model' };
const notJson: OwnAnswer = { status: 415, code: 'unsupported_media_type', why: 'vLLM says 400' };

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
  'error-priority': { status: 400, code: 'invalid_request', param: 'priority', why: 'the gateway orders calls' },
  'error-request-id-repeated': {
    status: 400,
    code: 'invalid_request',
    param: 'request_id',
    why: 'the call id takes its place',
  },
  'error-content-type': notJson,
  'error-content-type-missing': notJson,
  'header-rank-1': { status: 200, why: 'the header steers the engine and is not passed on' },
  'get-v1-models-tiny': { status: 200, why: 'vLLM cannot show one model' },
};
