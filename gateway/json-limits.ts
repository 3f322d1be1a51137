import type { Buffer } from 'node:buffer';
import { apiError } from './errors.ts';

/** One member of the outermost object, as it stands in the body. */
export interface JsonMember {
  readonly name: string;
  /** Where its text begins, at the name's quote, and ends, before the comma or brace. */
  readonly start: number;
  readonly end: number;
  /** Bytes that printing its value indented by four would add at most. */
  readonly padding: number;
}

/** Bytewise steps inside a string before the search for its end is left to the runtime's own, which skips long texts at memory speed. */
const NEAR_BYTES = 64;

const INDENT = 4;
/** A line break, and the blank after a colon. */
const LINE_BYTES = 2;

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const OPEN = 0x7b; // `{`, and `[` with the case bit set
const CLOSE = 0x7d; // `}`, and `]` with the case bit set
const CASE_BIT = 0x20;

/**
 * Looks over a JSON body before anything is parsed, in one scan: refuses one that nests deeper than `depth` or holds more than `nodes`
 * values, with `invalid_request`, and answers the members of the outermost object in their order, repeated names too. Values are
 * counted as 1 + commas + containers, so an empty container counts twice. Of what is not JSON the answer means nothing; the
 * parser refuses it.
 */
export function scanJson(bytes: Buffer, depth: number, nodes: number): JsonMember[] {
  const members: JsonMember[] = [];
  let open = 0;
  let seen = 1;
  let padding = 0;
  let name = '';
  let start = 0;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === QUOTE) {
      const from = at;
      at = stringEnd(bytes, from + 1);
      if (open === 1 && start === 0) {
        start = from;
        name = memberName(bytes, from + 1, at);
      }
      continue;
    }
    const opens = (byte | CASE_BIT) === OPEN;
    const closes = (byte | CASE_BIT) === CLOSE;
    if (!opens && !closes && byte !== COMMA) continue;
    if (!closes && ++seen > nodes) throw tooManyNodes(nodes);
    if (opens && ++open > depth) throw tooDeep(depth);
    if (open > 1) padding += LINE_BYTES + INDENT * (closes ? open - 2 : open - 1);
    else if (start > 0) {
      members.push({ name, start, end: at, padding });
      start = 0;
      padding = 0;
    }
    if (closes) open--;
  }
  return members;
}

function memberName(bytes: Buffer, start: number, end: number): string {
  const raw = bytes.toString('utf8', start, end);
  if (!raw.includes('\\')) return raw;
  try {
    return String(JSON.parse(`"${raw}"`));
  } catch {
    return raw;
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
