import { badParameter, badRequest } from './failure.ts';
import { isObject, type JsonObject } from './fields.ts';
import { MARKS, type Tokenizer } from './tokenizer.ts';

/** vLLM refuses a prompt without tokenising it when even its longest tokens could not make it fit. */
const LONGEST_TOKEN_CHARACTERS = 17;

/** A chat in ChatML, as token ids: tools first, each message between its marks, then the opening of the answer. */
export function chatPromptIds(
  tokenizer: Tokenizer,
  contextLength: number,
  messages: readonly JsonObject[],
  tools: readonly unknown[] | null,
  { open, unfinished }: { open: boolean; unfinished: boolean },
): number[] {
  const texts = messages.map(messageText);
  checkCharacters(
    texts.reduce((sum, text) => sum + text.length, 0),
    contextLength,
  );
  const ids: number[] = [];
  const add = (role: string, text: string): void => {
    ids.push(MARKS.begin, ...tokenizer.encode(`${role}\n${text}`), MARKS.end, ...tokenizer.encode('\n'));
  };
  if (tools !== null) {
    add('system', `# Tools\n${tools.map((tool) => JSON.stringify(tool)).join('\n')}`);
  }
  messages.forEach((message, at) => {
    add(String(message.role), texts[at] ?? '');
  });
  if (unfinished) {
    ids.length -= 1 + tokenizer.encode('\n').length;
  } else if (open) {
    ids.push(MARKS.begin, ...tokenizer.encode('assistant\n'));
  }
  return ids;
}

/** A plain prompt as ids. */
export function textPromptIds(tokenizer: Tokenizer, contextLength: number, text: string): number[] {
  checkCharacters(text.length, contextLength);
  return tokenizer.encode(text);
}

/** Keeps the last ids when the call asks to cut its prompt; -1 means what fits. */
export function truncate(ids: number[], keep: number | null, contextLength: number): number[] {
  if (keep === null) {
    return ids;
  }
  if (keep > contextLength) {
    const message = `truncate_prompt_tokens=${keep} cannot be greater than max_model_len = ${contextLength}.`;
    throw badParameter(`${message} Please request a smaller truncation size.`, 'truncate_prompt_tokens', keep);
  }
  const kept = keep < 0 ? contextLength - 1 : keep;
  return kept === 0 ? [] : ids.slice(-kept);
}

/** How many tokens the answer may have: what is left of the context, or less when less was asked. */
export function answerTokens(promptTokens: number, asked: number | null, contextLength: number): number {
  if (promptTokens >= contextLength) {
    const message =
      `${contextIs(contextLength)} However, your prompt contains at least ${contextLength + 1} input tokens, which exceeds ` +
      'this limit even without any output tokens. Please reduce the length of the input prompt.';
    throw badParameter(message, 'input_tokens', contextLength + 1);
  }
  if (asked !== null && asked > contextLength) {
    const message = `max_tokens=${asked} cannot be greater than max_model_len=${contextLength}.`;
    throw badParameter(`${message} Please request fewer output tokens.`, 'max_tokens', asked);
  }
  return Math.min(contextLength - promptTokens, asked ?? contextLength);
}

/** Refuses fewer than one token of answer. */
export function checkMaxTokens(asked: number | null, least: number): void {
  if (asked !== null && asked < least) {
    throw badParameter(`max_tokens must be at least ${least}, got ${asked}.`, 'max_tokens', asked);
  }
}

function checkCharacters(characters: number, contextLength: number): void {
  const most = contextLength * LONGEST_TOKEN_CHARACTERS;
  if (characters > most) {
    const message =
      `${contextIs(contextLength)} However, your prompt contains ${characters} characters (more than ${most} characters, ` +
      `which is the upper bound for ${contextLength} input tokens). Please reduce the length of the input prompt.`;
    throw badParameter(message, 'input_text', characters);
  }
}

const contextIs = (contextLength: number): string => `This model's maximum context length is ${contextLength} tokens.`;

function messageText(message: JsonObject): string {
  const calls = Array.isArray(message.tool_calls) ? message.tool_calls : [];
  const called = calls.map((call) => `<tool_call>${JSON.stringify(isObject(call) ? call.function : call)}</tool_call>`);
  return contentText(message.content) + called.join('');
}

/** The text of a message's content: a string as it is, parts of text joined by line ends. */
export function contentText(content: unknown): string {
  if (typeof content === 'string') {
    return content;
  }
  if (!Array.isArray(content)) {
    return '';
  }
  return content.map((part) => (isObject(part) ? String(part.text ?? '') : String(part))).join('\n');
}

/** Refuses parts that are not text: the simulated model reads nothing else. */
export function checkParts(messages: readonly JsonObject[], model: string): void {
  for (const { content } of messages) {
    for (const part of Array.isArray(content) ? content : []) {
      const type = isObject(part) ? part.type : 'text';
      if (type === 'image_url' || type === 'input_audio' || type === 'video_url') {
        throw badRequest(`${model} is not a multimodal model`);
      }
      if (type !== 'text' && type !== 'refusal') {
        throw badRequest(`Unknown part type: ${String(type)}`);
      }
    }
  }
}
