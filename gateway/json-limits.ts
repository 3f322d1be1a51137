import { Buffer } from 'node:buffer';
import { apiError } from './errors.ts';

/** Bytewise steps inside a string before the search for its end is left to the runtime's own, which skips long texts at memory speed. */
const NEAR_BYTES = 64;

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const OPEN = 0x7b; // `{`, and `[` with the case bit set
const CLOSE = 0x7d; // `}`, and `]` with the case bit set
const CASE_BIT = 0x20;

/**
 * Refuses a JSON body that nests deeper than `depth` or holds more than `nodes` values, before anything is parsed: one scan that
 * keeps nothing. Values are counted as 1 + commas + containers, so an empty container counts twice. What is not JSON may
 * pass; the parser refuses it. Throws `invalid_request`.
 */
export function checkJsonLimits(body: Uint8Array, depth: number, nodes: number): void {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const end = bytes.length;
  let open = 0;
  let seen = 1;
  for (let at = 0; at < end; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === QUOTE) {
      at = stringEnd(bytes, at + 1);
    } else if (byte === COMMA) {
      if (++seen > nodes) throw tooManyNodes(nodes);
    } else if ((byte | CASE_BIT) === OPEN) {
      if (++open > depth) throw tooDeep(depth);
      if (++seen > nodes) throw tooManyNodes(nodes);
    } else if ((byte | CASE_BIT) === CLOSE) {
      open--;
    }
  }
}

/** Where the string ends whose text begins at `from`: the index of its closing quote, or the length of the body. */
function stringEnd(bytes: Buffer, from: number): number {
  const end = bytes.length;
  let at = from;
  // Text full of escaped quotes would stop every far search at once, so the near one goes twice as far each time.
  for (let steps = NEAR_BYTES; ; steps *= 2) {
    const near = Math.min(end, at + steps);
    while (at < near) {
      const byte = bytes[at];
      if (byte === QUOTE) return at;
      at += byte === BACKSLASH ? 2 : 1;
    }
    const quote = bytes.indexOf(QUOTE, at);
    if (quote < 0) return end;
    if (!isEscaped(bytes, at, quote)) return quote;
    at = quote + 1;
  }
}

/** Whether an odd number of backslashes stands right before `quote`, counted no further back than `from`, which is not escaped. */
function isEscaped(bytes: Buffer, from: number, quote: number): boolean {
  let at = quote;
  while (at > from && bytes[at - 1] === BACKSLASH) at--;
  return ((quote - at) & 1) === 1;
}

function tooDeep(depth: number): Error {
  return apiError('invalid_request', `The body nests deeper than ${depth} levels. Send flatter JSON.`);
}

function tooManyNodes(nodes: number): Error {
  return apiError(
    'invalid_request',
    `The body holds more than ${nodes} values. Split the request, or send texts as strings.`,
  );
}
