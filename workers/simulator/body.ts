import type { IncomingMessage } from 'node:http';
import { invalidBody, unreadableBody, wrongContentType } from './failure.ts';
import { describe, isObject, type JsonObject } from './fields.ts';

/** Python's JSON reader gives up somewhere near its recursion limit. */
const DEEPEST_JSON = 990;

/** The whole body of a request. */
export async function readBytes(request: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of request) {
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

/** The body as an object, or the failure that vLLM answers to what it cannot read. */
export function readObject(bytes: Buffer, contentType: string | undefined): JsonObject {
  const type = (contentType ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
  if (bytes.length === 0) {
    throw invalidBody([{ type: 'missing', location: 'body', message: 'Field required', input: 'None' }]);
  }
  if (type !== 'application/json' && !/^application\/.*\+json$/.test(type)) {
    throw wrongContentType();
  }
  const value = parse(decode(bytes));
  if (!isObject(value)) {
    const message = 'Input should be a valid dictionary or object to extract fields from';
    throw invalidBody([{ type: 'model_attributes_type', location: 'body', message, input: describe(value) }]);
  }
  return value;
}

function decode(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw unreadableBody();
  }
}

function parse(text: string): unknown {
  if (isTooDeep(text)) {
    throw unreadableBody();
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    return parseAgain(text, error instanceof Error ? error.message : '');
  }
}

/** Python also reads NaN and Infinity; all else is malformed. */
function parseAgain(text: string, reason: string): unknown {
  const quoted = text.replace(/([:[,]\s*)(NaN|-?Infinity)(?=\s*[,}\]])/g, '$1"$2"');
  if (quoted !== text) {
    return parse(quoted);
  }
  const place = /at position (\d+)/.exec(reason)?.[1] ?? String(text.length);
  const why =
    /property name|in JSON at position 1 /.test(reason) || text.trim() === '{'
      ? 'Expecting property name enclosed in double quotes'
      : 'Expecting value';
  throw invalidBody([
    {
      type: 'json_invalid',
      location: `body.${place}`,
      message: 'JSON decode error',
      input: '<dict of 0 items>',
      context: `{'error': '${why}'}`,
    },
  ]);
}

/** Whether brackets are nested deeper than Python reads. */
function isTooDeep(text: string): boolean {
  let depth = 0;
  for (let at = 0; at < text.length && text.length >= DEEPEST_JSON; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      at = stringEnd(text, at);
    } else if (code === 91 || code === 123) {
      depth += 1;
      if (depth > DEEPEST_JSON) {
        return true;
      }
    } else if (code === 93 || code === 125) {
      depth -= 1;
    }
  }
  return false;
}

const QUOTE = 34;

/** Where the string that begins here ends. */
function stringEnd(text: string, begin: number): number {
  let end = text.indexOf('"', begin + 1);
  while (end > 0 && isEscaped(text, end)) {
    end = text.indexOf('"', end + 1);
  }
  return end < 0 ? text.length : end;
}

function isEscaped(text: string, at: number): boolean {
  let slashes = 0;
  while (text[at - 1 - slashes] === '\\') {
    slashes += 1;
  }
  return slashes % 2 === 1;
}
