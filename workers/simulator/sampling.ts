import { badParameter, badRequest, pythonFloat } from './failure.ts';
import type { Fields } from './fields.ts';

/** How the tokens of a call are chosen and when they end: the fields that chat and completions share. */
export interface Sampling {
  readonly choices: number;
  readonly seed: number | null;
  readonly temperature: number;
  /** As asked; null when the call leaves it to the server. */
  readonly maxTokens: number | null;
  readonly minTokens: number;
  readonly ignoreEnd: boolean;
  readonly stopTexts: readonly string[];
  readonly stopIds: readonly number[];
  readonly includeStop: boolean;
  readonly promptLogprobs: number | null;
  readonly returnTokenIds: boolean;
  readonly streamInterval: number | null;
  readonly priority: number;
  readonly salt: string;
}

const MOST_CHOICES = 16_384;
const MOST_LOGPROBS = 20;

/** Reads the shared fields; types are checked here, ranges by `checkSampling`. */
export function readSampling(fields: Fields, maxTokens: number | null): Sampling {
  const stop = fields.body.stop;
  return {
    choices: fields.integer('n') ?? 1,
    seed: fields.integer('seed'),
    temperature: fields.number('temperature') ?? 1,
    maxTokens,
    minTokens: fields.integer('min_tokens') ?? 0,
    ignoreEnd: fields.boolean('ignore_eos') ?? false,
    stopTexts: typeof stop === 'string' ? [stop] : (fields.list('stop') ?? []).map(String),
    stopIds: (fields.list('stop_token_ids') ?? []).map(Number),
    includeStop: fields.boolean('include_stop_str_in_output') ?? false,
    promptLogprobs: fields.integer('prompt_logprobs'),
    returnTokenIds: fields.boolean('return_token_ids') ?? false,
    streamInterval: fields.integer('stream_interval'),
    priority: fields.integer('priority') ?? 0,
    salt: fields.text('cache_salt') ?? '',
  };
}

/** Refuses combinations that vLLM refuses before it looks at the model or the prompt. */
export function checkCombinations(fields: Fields, streaming: boolean): void {
  if (fields.body.stream_options !== undefined && fields.body.stream_options !== null && !streaming) {
    throw badParameter('Stream options can only be defined when `stream=True`.', 'stream_options');
  }
  if (streaming && (fields.integer('prompt_logprobs') ?? 0) > 0) {
    throw badParameter('`prompt_logprobs` are not available when `stream=True`.', 'prompt_logprobs');
  }
  checkSalt(fields.text('cache_salt'));
}

function checkSalt(salt: string | null): void {
  if (salt === '') {
    throw badParameter("Parameter 'cache_salt' must be a non-empty string if provided.", 'cache_salt');
  }
  if (salt !== null && (salt.length > 128 || /[@/\\\0]/.test(salt))) {
    const message =
      "Parameter 'cache_salt' must be at most 128 characters and must not contain '@', '/', '\\\\', or NUL.";
    throw badParameter(message, 'cache_salt');
  }
}

/** Refuses values out of range, in vLLM's words. `capTokens` is what the answer may have at most. */
export function checkSampling(fields: Fields, sampling: Sampling, capTokens: number, vocabularySize: number): void {
  checkChoices(sampling);
  checkRanges(fields);
  checkLengths(sampling, capTokens);
  checkBias(fields, vocabularySize);
}

function checkChoices({ choices, temperature }: Sampling): void {
  if (choices < 1) {
    throw badRequest(`n must be at least 1, got ${choices}.`);
  }
  if (choices > MOST_CHOICES) {
    const hint = 'To increase this limit, set the VLLM_MAX_N_SEQUENCES environment variable.';
    throw badRequest(`n must be at most ${MOST_CHOICES}, got ${choices}. ${hint}`);
  }
  if (choices > 1 && temperature === 0) {
    throw badRequest(`n must be 1 when using greedy sampling, got ${choices}.`);
  }
}

function checkRanges(fields: Fields): void {
  const outside = (value: number | null, low: number, high: number): value is number =>
    value !== null && !(value >= low && value <= high);
  const named = (name: string, rule: string, value: number): never => {
    throw badParameter(`${name} must be ${rule}, got ${pythonFloat(value)}.`, name, pythonFloat(value));
  };
  const temperature = fields.number('temperature') ?? 1;
  if (!Number.isFinite(temperature)) {
    const shown = pythonFloat(temperature);
    throw badParameter(`temperature must be a finite number, got ${shown}.`, 'temperature', shown);
  }
  if (temperature < 0 || temperature > 2) {
    named('temperature', temperature < 0 ? 'non-negative' : 'in [0, 2]', temperature);
  }
  const topP = fields.number('top_p') ?? 1;
  if (!(topP > 0 && topP <= 1)) {
    named('top_p', 'in (0, 1]', topP);
  }
  for (const name of ['presence_penalty', 'frequency_penalty']) {
    const penalty = fields.number(name);
    if (outside(penalty, -2, 2)) {
      throw badRequest(`${name} must be in [-2, 2], got ${pythonFloat(penalty)}.`);
    }
  }
  const repetition = fields.number('repetition_penalty') ?? 1;
  if (repetition <= 0) {
    throw badRequest(`repetition_penalty must be greater than zero, got ${pythonFloat(repetition)}.`);
  }
  const minP = fields.number('min_p');
  if (outside(minP, 0, 1)) {
    throw badRequest(`min_p must be in [0, 1], got ${pythonFloat(minP)}.`);
  }
  const topK = fields.integer('top_k') ?? 0;
  if (topK < -1) {
    throw badRequest(`top_k must be 0 (disable), or at least 1, got ${topK}.`);
  }
}

function checkLengths({ maxTokens, minTokens, stopTexts }: Sampling, capTokens: number): void {
  const most = maxTokens === null ? capTokens : Math.min(maxTokens, capTokens);
  if (minTokens > most) {
    throw badRequest(`min_tokens must be less than or equal to max_tokens=${most}, got ${minTokens}.`);
  }
  if (stopTexts.includes('')) {
    throw badRequest('stop cannot contain an empty string.');
  }
}

function checkBias(fields: Fields, vocabularySize: number): void {
  const unknown = Object.keys(fields.object('logit_bias') ?? {}).filter((id) => !(Number(id) < vocabularySize));
  if (unknown.length > 0) {
    const shown = `[${unknown.join(', ')}]`;
    const message = `token_id(s) ${shown} in logit_bias contain out-of-vocab token ids.`;
    throw badParameter(`${message} Vocabulary size: ${vocabularySize}`, 'logit_bias', shown);
  }
}

/** Refuses more alternatives per token than the server tells. */
export function checkLogprobs(asked: number | null): void {
  if (asked !== null && asked > MOST_LOGPROBS) {
    const message = `Requested sample logprobs of ${asked}, which is greater than max allowed: ${MOST_LOGPROBS}`;
    throw badParameter(message, 'logprobs', asked);
  }
}
