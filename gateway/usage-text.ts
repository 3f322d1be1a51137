/** Edits of the `usage` object inside what a worker wrote: everything around it stays as it came. */
import { usdLiteral } from '../payments/money.ts';
import type { Call } from './call.ts';
import { wordsOf } from './worker-words.ts';

const NO_WORKER = '"worker":null,"region":null';

/** The members that `usage` gains: the exact charge in USD, and the call's own numbers. JSON without braces. */
export function chargeMembers(call: Call): string {
  const { chargedNanousd, heldNanousd, queueMs, ttftMs, totalMs } = call;
  const worker = call.attempt === null ? NO_WORKER : wordsOf(call.attempt.worker).members;
  const charged = chargedNanousd ?? 0n;
  const times = `"queue_ms":${queueMs},"ttft_ms":${ttftMs},"total_ms":${totalMs}`;
  const money = `"charged_nanousd":"${charged}","held_nanousd":"${heldNanousd}"`;
  return `"cost":${usdLiteral(charged)},"faregate":{"call":"${call.id}",${money},${times},${worker}}`;
}

/** The frame without its `usage` member. Null when it has none that can be cut. */
export function cutUsage(frame: string): string | null {
  const at = findUsage(frame);
  return at === null || at.comma < 0 ? null : frame.slice(0, at.comma) + frame.slice(at.close + 1);
}

/** A frame or body whose `usage` has further members too, JSON without braces. Null when it has no usage object. */
export function withCharge(text: string, members: string): string | null {
  const at = findUsage(text);
  return at === null ? null : `${text.slice(0, at.close)},${members}${text.slice(at.close)}`;
}

const KEY = '"usage"';
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN = 0x7b;
const CLOSE = 0x7d;

interface Span {
  /** The comma before the member; -1 when the member is the first of its object. */
  readonly comma: number;
  readonly close: number;
}

/**
 * The last `"usage":{…}`. Inside a JSON string the quotes would be escaped, so this is always a member; a usage holds
 * numbers and nested objects, no strings with braces.
 */
function findUsage(text: string): Span | null {
  const key = text.lastIndexOf(KEY);
  if (key < 0) return null;
  const colon = skipBlank(text, key + KEY.length, 1);
  const open = skipBlank(text, colon + 1, 1);
  if (text.charCodeAt(colon) !== COLON || text.charCodeAt(open) !== OPEN) return null;
  const before = skipBlank(text, key - 1, -1);
  let depth = 0;
  for (let at = open; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === OPEN) depth++;
    else if (code === CLOSE && --depth === 0) {
      return { comma: text.charCodeAt(before) === COMMA ? before : -1, close: at };
    }
  }
  return null;
}

function skipBlank(text: string, from: number, step: 1 | -1): number {
  let at = from;
  for (let code = text.charCodeAt(at); code === 0x20 || code === 0x09 || code === 0x0a || code === 0x0d; ) {
    at += step;
    code = text.charCodeAt(at);
  }
  return at;
}
