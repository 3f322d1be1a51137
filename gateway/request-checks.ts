import { apiError } from './errors.ts';

/** Caps on one request. All are the host's to change; the defaults suit a public gateway. */
export interface RequestLimits {
  readonly jsonDepth: number;
  readonly jsonNodes: number;
  /** Answers to one prompt: `n`, `best_of`. */
  readonly choices: number;
  /** `top_logprobs`, `prompt_logprobs`, and `logprobs` of a completion; vLLM's own cap is the same. */
  readonly topLogprobs: number;
  readonly stopStrings: number;
  readonly tools: number;
  /** Entries of `logit_bias` and of each list of token ids or words that every sampling step looks at. */
  readonly biasEntries: number;
  /** Bytes of `response_format` and of `structured_outputs`, each as JSON. */
  readonly schemaBytes: number;
  /** Characters of a regular expression that a worker compiles. */
  readonly regexLength: number;
  /** Prompts in one completion call; each makes `n` answers. */
  readonly prompts: number;
  readonly embeddingInputs: number;
  /** Tokens that a chat template may add to any conversation (a system text of its own, the date). */
  readonly templateTokens: number;
  /** Tokens that it may add on top when there are tools (how to call them). */
  readonly toolTemplateTokens: number;
}

export const defaultRequestLimits: RequestLimits = {
  jsonDepth: 64,
  jsonNodes: 100_000,
  choices: 16,
  topLogprobs: 20,
  stopStrings: 16,
  tools: 128,
  biasEntries: 1_024,
  schemaBytes: 65_536,
  regexLength: 4_096,
  prompts: 64,
  embeddingInputs: 2_048,
  templateTokens: 512,
  toolTemplateTokens: 1_024,
};

export type JsonObject = Record<string, unknown>;

/** Throws `invalid_request` with `param` when a value would cost more than the limits allow, or is not of the type that they count; `bytes` is its size as JSON. */
export type FieldCheck = (value: unknown, param: string, limits: RequestLimits, bytes: number) => void;

/** A 400 that names the field at fault; `problem` continues a sentence that begins with its name. */
export function invalidField(param: string, problem: string): Error {
  return apiError('invalid_request', `\`${param}\` ${problem}.`, { param });
}

/** Whether a parsed value is a JSON object. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value as a JSON object; throws `invalid_request` naming `param`. */
export function object(value: unknown, param: string): JsonObject {
  if (!isObject(value)) throw invalidField(param, 'must be an object');
  return value;
}

/** The value as a JSON array; throws `invalid_request` naming `param`. */
export function array(value: unknown, param: string): readonly unknown[] {
  if (!Array.isArray(value)) throw invalidField(param, 'must be an array');
  return value;
}

export function string(value: unknown, param: string): void {
  if (typeof value !== 'string') throw invalidField(param, 'must be a string');
}

export function nonEmptyString(value: unknown, param: string): void {
  if (typeof value !== 'string' || value === '') throw invalidField(param, 'must be a string that is not empty');
}

export function boolean(value: unknown, param: string): void {
  if (typeof value !== 'boolean') throw invalidField(param, 'must be true or false');
}

export function integerWithin(value: unknown, param: string, least: number, most: number): void {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) {
    throw invalidField(param, `must be an integer from ${least} to ${most}`);
  }
}

export function positiveInteger(value: unknown, param: string): void {
  integerWithin(value, param, 1, Number.MAX_SAFE_INTEGER);
}

export function streamOptions(value: unknown, param: string): void {
  const options = object(value, param);
  for (const name of ['include_usage', 'continuous_usage_stats']) {
    if (options[name] !== undefined && options[name] !== null) boolean(options[name], `${param}.${name}`);
  }
}

export function stopStrings(value: unknown, param: string, limits: RequestLimits): void {
  if (typeof value === 'string') return;
  const stops = array(value, param);
  if (stops.length > limits.stopStrings) throw invalidField(param, `takes at most ${limits.stopStrings} strings`);
  stops.forEach((stop, index) => {
    string(stop, `${param}[${index}]`);
  });
}

export function biasList(value: unknown, param: string, limits: RequestLimits): void {
  entriesWithin(array(value, param).length, param, limits);
}

export function entriesWithin(entries: number, param: string, limits: RequestLimits): void {
  if (entries > limits.biasEntries) throw invalidField(param, `takes at most ${limits.biasEntries} entries`);
}

export function toolList(value: unknown, param: string, limits: RequestLimits): void {
  const tools = array(value, param);
  if (tools.length > limits.tools) throw invalidField(param, `takes at most ${limits.tools} tools`);
  tools.forEach((tool, index) => {
    object(tool, `${param}[${index}]`);
  });
}

export function schema(value: unknown, param: string, limits: RequestLimits, bytes: number): void {
  object(value, param);
  if (bytes > limits.schemaBytes) throw invalidField(param, `takes at most ${limits.schemaBytes} bytes of JSON`);
}

export function structuredOutputs(value: unknown, param: string, limits: RequestLimits, bytes: number): void {
  schema(value, param, limits, bytes);
  const outputs = object(value, param);
  for (const name of ['regex', 'whitespace_pattern']) {
    const pattern = outputs[name];
    if (typeof pattern === 'string' && pattern.length > limits.regexLength) {
      throw invalidField(`${param}.${name}`, `takes at most ${limits.regexLength} characters`);
    }
  }
}
