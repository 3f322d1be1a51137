import {
  array,
  biasList,
  boolean,
  entriesWithin,
  type FieldCheck,
  integerWithin,
  nonEmptyString,
  object,
  positiveInteger,
  schema,
  stopStrings,
  streamOptions,
  string,
  structuredOutputs,
  toolList,
} from './request-checks.ts';

/*
 * Every field of a request has one of three fates.
 *
 *   sent     it is in a table below: OpenAI's fields that vLLM knows, and vLLM's own for sampling, prompt and output
 *   refused  400 with `param`: without it the answer would be another one than asked for, or it reaches into the engine
 *   ignored  any other: it never reaches a worker and is named in `x-faregate-ignored`, the answer's text is the same
 *
 * Ignored are thereby OpenAI's fields that vLLM does not use: `user`, `metadata`, `store`, `service_tier`, `safety_identifier`,
 * `prompt_cache_key` and its kin, `modalities`, `moderation`, `prediction`, `verbosity`, `web_search_options`, `best_of`. Not sending
 * them also keeps the names of a caller's users from the operators. Ignored are two of vLLM: `session_id`, because sessions of two
 * tenants could meet, and `stream_interval`, because it hides progress from the meter. Null means absent, as OpenAI has it.
 */

export type RequestKind = 'chat' | 'completion' | 'embedding';

/** Ranges that vLLM checks itself are left to it: its 400 reaches the caller. Here stand only checks that guard money or machines. */
const unchecked: FieldCheck = () => {};

const generation: Record<string, FieldCheck> = {
  model: nonEmptyString,
  stream: boolean,
  stream_options: streamOptions,
  max_tokens: positiveInteger,
  n: (value, field, limits) => integerWithin(value, field, 1, limits.choices),
  stop: stopStrings,
  logit_bias: (value, field, limits) => entriesWithin(Object.keys(object(value, field)).length, field, limits),
  allowed_token_ids: biasList,
  bad_words: biasList,
  logprob_token_ids: biasList,
  stop_token_ids: biasList,
  prompt_logprobs: (value, field, limits) => integerWithin(value, field, 0, limits.topLogprobs),
  response_format: schema,
  structured_outputs: structuredOutputs,
  ...sentAsIs(
    ['temperature', 'top_p', 'top_k', 'min_p', 'frequency_penalty', 'presence_penalty', 'repetition_penalty'],
    ['seed', 'length_penalty', 'min_tokens', 'repetition_detection', 'thinking_token_budget'],
    ['include_stop_str_in_output', 'skip_special_tokens', 'spaces_between_special_tokens'],
    ['echo', 'add_special_tokens', 'truncate_prompt_tokens', 'truncation_side'],
    ['return_token_ids', 'return_tokens_as_token_ids', 'return_prompt_text'],
  ),
};

/** The fields that reach a worker, with the check that each passes first. */
export const sentFields: Readonly<Record<RequestKind, ReadonlyMap<string, FieldCheck>>> = {
  chat: tableOf({
    ...generation,
    max_completion_tokens: positiveInteger,
    logprobs: boolean,
    top_logprobs: (value, field, limits) => integerWithin(value, field, 0, limits.topLogprobs),
    tools: toolList,
    documents: array,
    ...sentAsIs(
      ['messages', 'tool_choice', 'parallel_tool_calls', 'reasoning_effort', 'include_reasoning'],
      ['add_generation_prompt', 'continue_final_message'],
    ),
  }),
  completion: tableOf({
    ...generation,
    logprobs: (value, field, limits) => integerWithin(value, field, 0, limits.topLogprobs),
    suffix: string,
    ...sentAsIs(['prompt']),
  }),
  embedding: tableOf({
    model: nonEmptyString,
    ...sentAsIs(
      ['input', 'encoding_format', 'dimensions', 'normalize', 'embed_dtype', 'endianness'],
      ['add_special_tokens', 'truncate_prompt_tokens', 'truncation_side'],
    ),
  }),
};

const engineOnly = 'it steers the engine, which the gateway does alone';
const guidedOutput = 'use `response_format` or `structured_outputs`';

/** Fields that no caller may set, each with what to do instead. */
export const refusedFields: ReadonlyMap<string, string> = new Map([
  ['cache_salt', 'the gateway sets it, so that no two tenants share a prompt cache'],
  ['kv_transfer_params', engineOnly],
  ['ec_transfer_params', engineOnly],
  ['vllm_xargs', engineOnly],
  ['logits_processors', engineOnly],
  ['priority', engineOnly],
  ['request_id', 'the call id takes its place; see `x-faregate-call`'],
  ['chat_template', 'the model has its own'],
  ['chat_template_kwargs', 'the template takes no arguments here; `reasoning_effort` sets thinking'],
  ['mm_processor_kwargs', 'this gateway prices text only'],
  ['media_io_kwargs', 'this gateway prices text only'],
  ['audio', 'this gateway prices text only'],
  ['prompt_embeds', 'send text or token ids'],
  ['ignore_eos', 'a model ends its own answers; `min_tokens` makes them longer'],
  ['use_beam_search', 'beams cost more than they show; use `n`'],
  ['guided_decoding_backend', guidedOutput],
  ['guided_json', guidedOutput],
  ['guided_regex', guidedOutput],
  ['guided_choice', guidedOutput],
  ['guided_grammar', guidedOutput],
  ['functions', 'use `tools`'],
  ['function_call', 'use `tool_choice`'],
]);

function tableOf(checks: Record<string, FieldCheck>): ReadonlyMap<string, FieldCheck> {
  return new Map(Object.entries(checks));
}

function sentAsIs(...fields: readonly string[][]): Record<string, FieldCheck> {
  return Object.fromEntries(fields.flat().map((field) => [field, unchecked]));
}
