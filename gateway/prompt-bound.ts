import { Buffer } from 'node:buffer';
import type { JsonMember } from './json-limits.ts';
import { array, invalidField, isObject, type JsonObject, type RequestLimits } from './request-checks.ts';

/*
 * How many tokens a prompt can have at most, without a tokenizer. A token of a byte-level vocabulary covers at least one byte, so what
 * reaches the prompt has no more tokens than bytes, and its JSON text has no fewer bytes than the text it stands for.
 *
 *   messages, tools, documents,  the bytes of their JSON as it came, plus what printing it indented by four would add: templates
 *   response_format              print tools and results so, and the marks around a message are shorter than its braces and names
 *   arguments of a tool call     once more, as a text: the template is given them parsed and prints them in a notation of its own
 *   a tool's message             plus the longest name of a called function, which may be put before it
 *   any conversation             `templateTokens`, and with tools `toolTemplateTokens`, from the limits
 *   a bare prompt                its bytes, or its length when it is token ids, plus PROMPT_TOKENS for the first and last mark
 *
 * Not bounded are a tokenizer that rewrites its input (Unicode composition lengthens a handful of rare characters), a template that prints a
 * text twice, and arguments made of numbers that Python prints longer. A claim above the bound is charged at the bound, so none
 * of them costs a caller more than was held.
 */
const PROMPT_TOKENS = 8;

/** Of the fields sent, those that a chat template is given. */
const PROMPT_FIELDS: ReadonlySet<string> = new Set([
  'messages',
  'tools',
  'tool_choice',
  'documents',
  'response_format',
]);

const TEXT_PARTS: ReadonlySet<unknown> = new Set(['text', 'refusal', 'thinking', 'input_text', 'output_text']);

/** vLLM reads media from these members of a part whatever its type says, a `uuid` alone from its cache. */
const MEDIA_MEMBERS: readonly string[] = [
  ...['image_url', 'image_pil', 'image_embeds', 'input_image', 'audio_url', 'audio_embeds', 'input_audio'],
  ...['video_url', 'video_embeds', 'input_video', 'prompt_embeds', 'file', 'uuid'],
];

/** The most tokens that a conversation can have as a prompt; `members` are the fields sent, `body` their values. */
export function chatTokensMax(body: JsonObject, members: Iterable<JsonMember>, limits: RequestLimits): number {
  let tokens = templateTokensMax(body, limits) + spreadArguments(checkMessages(body.messages));
  for (const { name, start, end, padding } of members) {
    if (PROMPT_FIELDS.has(name)) tokens += end - start + padding;
  }
  return tokens;
}

/** The most tokens that a chat template adds of its own, whatever the length of the conversation. */
export function templateTokensMax(body: JsonObject, limits: RequestLimits): number {
  return body.tools === undefined ? limits.templateTokens : limits.templateTokens + limits.toolTemplateTokens;
}

/**
 * The prompts of a completion or the inputs of an embedding, in OpenAI's four shapes: a text, texts, token ids, lists of token ids.
 * Answers how many prompts there are and the most tokens that all of them have; throws `invalid_request` with `field` as `param`.
 */
export function bareTokensMax(value: unknown, field: string, most: number): { prompts: number; tokens: number } {
  if (typeof value === 'string') return { prompts: 1, tokens: textTokensMax(value) };
  const list: readonly unknown[] = Array.isArray(value) ? value : [];
  if (list.length === 0) throw invalidField(field, 'must be a string or an array that is not empty');
  if (typeof list[0] === 'number') return { prompts: 1, tokens: tokenIds(list, field) };
  if (list.length > most) throw invalidField(field, `takes at most ${most} entries`);
  let tokens = 0;
  list.forEach((entry, index) => {
    tokens += typeof entry === 'string' ? textTokensMax(entry) : tokenIds(entry, `${field}[${index}]`);
  });
  return { prompts: list.length, tokens };
}

/** The most tokens of one bare text. */
export function textTokensMax(text: string): number {
  return PROMPT_TOKENS + Buffer.byteLength(text);
}

function tokenIds(value: unknown, param: string): number {
  const ids = array(value, param);
  if (!ids.every(Number.isSafeInteger)) throw invalidField(param, 'must hold token ids and nothing else');
  return PROMPT_TOKENS + ids.length;
}

/** Messages are objects with a role, and hold nothing but text; throws `invalid_request` with the place as `param`. */
function checkMessages(value: unknown): readonly JsonObject[] {
  const messages = array(value, 'messages');
  if (messages.length === 0) throw invalidField('messages', 'must hold at least one message');
  return messages.map((message, index) => {
    if (!isObject(message)) throw invalidField(`messages[${index}]`, 'must be an object');
    if (typeof message.role !== 'string') throw invalidField(`messages[${index}].role`, 'must be a string');
    const { content } = message;
    if (Array.isArray(content)) checkParts(content, index);
    else if (typeof content !== 'string' && content !== null && content !== undefined) {
      throw invalidField(`messages[${index}].content`, 'must be a string or an array of text parts');
    }
    return message;
  });
}

function checkParts(parts: readonly unknown[], message: number): void {
  for (let index = 0; index < parts.length; index++) {
    const fault = partFault(parts[index]);
    if (fault === null) continue;
    throw invalidField(
      `messages[${message}].content[${index}]${fault}`,
      'is not text, and this gateway prices text only: send parts of type `text`',
    );
  }
}

/** What makes a part something else than text: the place within it, or null. */
function partFault(part: unknown): string | null {
  if (typeof part === 'string') return null;
  if (!isObject(part)) return '';
  if (!TEXT_PARTS.has(part.type)) return '.type';
  const media = MEDIA_MEMBERS.find((member) => part[member] !== undefined);
  return media === undefined ? null : `.${media}`;
}

/** Bytes that tool calls may take in the prompt beyond their JSON: their arguments anew, and names repeated before results. */
function spreadArguments(messages: readonly JsonObject[]): number {
  let bytes = 0;
  let longestName = 0;
  let results = 0;
  for (const { role, tool_calls: calls } of messages) {
    if (role !== 'user' && role !== 'assistant' && role !== 'system') results++;
    if (!Array.isArray(calls)) continue;
    for (const call of calls) {
      const called: unknown = isObject(call) ? call.function : null;
      if (!isObject(called)) continue;
      if (typeof called.arguments === 'string') bytes += Buffer.byteLength(called.arguments);
      if (typeof called.name === 'string') longestName = Math.max(longestName, Buffer.byteLength(called.name));
    }
  }
  return bytes + results * longestName;
}
