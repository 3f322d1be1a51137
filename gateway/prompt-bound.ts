import { Buffer } from 'node:buffer';
import { array, invalidField, isObject, type JsonObject, type RequestLimits } from './request-checks.ts';

/*
 * How many tokens a prompt can have at most, without a tokenizer. A token of a byte-level vocabulary covers at least one byte, so the
 * UTF-8 bytes of all that reaches the prompt are a bound, plus what the model's template writes around it:
 *
 *   a message          MESSAGE_TOKENS for its markers, plus every text in it, its role, name and ids included
 *   a tool's message   its text as JSON has it, because some templates quote it so, plus the longest name of a called function
 *   a tool call        CALL_TOKENS, plus the call as indented JSON, plus its arguments once more: a template may parse and spread them
 *   tools, documents,  ITEM_TOKENS each, plus the whole as JSON indented by four: no usual printer or tag notation is longer
 *   response_format
 *   any conversation   `templateTokens`, and with tools `toolTemplateTokens`, from the limits
 *   a bare prompt      its bytes, or its length when it is token ids, plus PROMPT_TOKENS for the first and last marker
 *
 * Two things are not bounded: a tokenizer that rewrites its input (Unicode composition lengthens a handful of rare characters), and a
 * template that prints a text twice. A claim above the bound is charged at the bound, so neither ever costs a caller more than was held.
 */
const MESSAGE_TOKENS = 32;
const PART_TOKENS = 4;
const CALL_TOKENS = 64;
const ITEM_TOKENS = 32;
const PROMPT_TOKENS = 8;

const TEXT_PARTS: ReadonlySet<unknown> = new Set(['text', 'refusal', 'thinking', 'input_text', 'output_text']);

/** vLLM reads media from these members of a part whatever its type says, a `uuid` alone from its cache. */
const MEDIA_MEMBERS: readonly string[] = [
  ...['image_url', 'image_pil', 'image_embeds', 'input_image', 'audio_url', 'audio_embeds', 'input_audio'],
  ...['video_url', 'video_embeds', 'input_video', 'prompt_embeds', 'file', 'uuid'],
];

/** Roles whose text a template writes raw; every other may be quoted. */
const PLAIN_ROLES: ReadonlySet<string> = new Set(['system', 'developer', 'user', 'assistant']);

/**
 * The most tokens that a conversation can have as a prompt. Checks it on the way, in the same walk: messages are objects with a role, parts are
 * texts. Throws `invalid_request` with the place as `param`.
 */
export function chatTokensMax(body: JsonObject, limits: RequestLimits): number {
  const messages = array(body.messages, 'messages');
  if (messages.length === 0) throw invalidField('messages', 'must hold at least one message');
  let tokens = limits.templateTokens;
  let toolMessages = 0;
  let longestName = 0;
  for (let index = 0; index < messages.length; index++) {
    const message = messages[index];
    if (!isObject(message)) throw invalidField(`messages[${index}]`, 'must be an object');
    if (typeof message.role !== 'string') throw invalidField(`messages[${index}].role`, 'must be a string');
    tokens += messageTokensMax(message, message.role, index);
    if (Array.isArray(message.tool_calls)) longestName = Math.max(longestName, longestFunctionName(message.tool_calls));
    if (!PLAIN_ROLES.has(message.role)) toolMessages++;
  }
  tokens += toolMessages * longestName;
  if (Array.isArray(body.tools) && body.tools.length > 0)
    tokens += limits.toolTemplateTokens + itemsTokensMax(body.tools);
  if (Array.isArray(body.documents)) tokens += itemsTokensMax(body.documents);
  if (body.response_format) tokens += ITEM_TOKENS + printedBytes(body.response_format);
  return tokens;
}

/**
 * The prompts of a completion or the inputs of an embedding, in OpenAI's four shapes: a text, texts, token ids, lists of token ids.
 * Answers how many prompts there are and the most tokens that all of them have; throws `invalid_request` with `field` as `param`.
 */
export function bareTokensMax(value: unknown, field: string, most: number): { prompts: number; tokens: number } {
  if (typeof value === 'string') return { prompts: 1, tokens: bareTextTokensMax(value) };
  const list: readonly unknown[] = Array.isArray(value) ? value : [];
  if (list.length === 0) throw invalidField(field, 'must be a string or an array that is not empty');
  if (typeof list[0] === 'number') return { prompts: 1, tokens: tokenIds(list, field) };
  if (list.length > most) throw invalidField(field, `takes at most ${most} entries`);
  let tokens = 0;
  list.forEach((entry, index) => {
    tokens += typeof entry === 'string' ? bareTextTokensMax(entry) : tokenIds(entry, `${field}[${index}]`);
  });
  return { prompts: list.length, tokens };
}

/** The most tokens of one bare text. */
function bareTextTokensMax(text: string): number {
  return PROMPT_TOKENS + Buffer.byteLength(text);
}

function tokenIds(value: unknown, param: string): number {
  const ids = array(value, param);
  if (!ids.every(Number.isSafeInteger)) throw invalidField(param, 'must hold token ids and nothing else');
  return PROMPT_TOKENS + ids.length;
}

function messageTokensMax(message: JsonObject, role: string, index: number): number {
  let tokens = MESSAGE_TOKENS;
  for (const member in message) {
    const value = message[member];
    if (member === 'content') tokens += contentTokensMax(value, role, index);
    else if (member === 'tool_calls' && Array.isArray(value)) tokens += callsTokensMax(value);
    else if (typeof value === 'string') tokens += Buffer.byteLength(value);
    else if (value !== null) tokens += printedBytes(value);
  }
  return tokens;
}

function contentTokensMax(content: unknown, role: string, message: number): number {
  if (content === null) return 0;
  if (typeof content === 'string') return textBytes(content, role);
  if (!Array.isArray(content)) {
    throw invalidField(`messages[${message}].content`, 'must be a string or an array of text parts');
  }
  let tokens = 0;
  for (let index = 0; index < content.length; index++) {
    const part: unknown = content[index];
    const fault = typeof part === 'string' ? null : partFault(part);
    if (fault !== null) throw notText(`messages[${message}].content[${index}]${fault}`);
    tokens += PART_TOKENS + partBytes(part, role);
  }
  return tokens;
}

/** What makes a part something else than text: the place within it, or null. */
function partFault(part: unknown): string | null {
  if (!isObject(part)) return '';
  if (!TEXT_PARTS.has(part.type)) return '.type';
  const media = MEDIA_MEMBERS.find((member) => part[member] !== undefined);
  return media === undefined ? null : `.${media}`;
}

/** Every member is counted, the type too: some templates are given them all. */
function partBytes(part: unknown, role: string): number {
  if (!isObject(part)) return typeof part === 'string' ? textBytes(part, role) : 0;
  let bytes = 0;
  for (const member in part) {
    const value = part[member];
    bytes += typeof value === 'string' ? textBytes(value, role) : printedBytes(value);
  }
  return bytes;
}

function notText(param: string): Error {
  return invalidField(param, 'is not text, and this gateway prices text only: send parts of type `text`');
}

function callsTokensMax(calls: readonly unknown[]): number {
  let tokens = 0;
  for (const call of calls) {
    tokens += CALL_TOKENS + printedBytes(call);
    const text = functionOf(call)?.arguments;
    if (typeof text === 'string') tokens += Buffer.byteLength(text);
  }
  return tokens;
}

function longestFunctionName(calls: readonly unknown[]): number {
  let longest = 0;
  for (const call of calls) {
    const name = functionOf(call)?.name;
    if (typeof name === 'string') longest = Math.max(longest, Buffer.byteLength(name));
  }
  return longest;
}

function functionOf(call: unknown): JsonObject | null {
  return isObject(call) && isObject(call.function) ? call.function : null;
}

function itemsTokensMax(items: readonly unknown[]): number {
  return items.length * ITEM_TOKENS + printedBytes(items);
}

/** Bytes of a text in the prompt: as it is, or quoted as JSON where a template may do so. */
function textBytes(text: string, role: string): number {
  return Buffer.byteLength(PLAIN_ROLES.has(role) ? text : JSON.stringify(text));
}

/** Bytes of a value as JSON in its longest usual print, indented by four. */
function printedBytes(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value, null, 4));
}
