/** Edits of the `usage` object inside bytes that a worker wrote: everything around it stays as it came. */
import { usdLiteral } from '../payments/money.ts';
import { idOrNull } from '../payments/record.ts';
import type { Call } from './call.ts';

/** The members that `usage` gains: the exact charge in USD, and the call's own numbers. JSON without braces. */
export function chargeMembers(call: Call): string {
  const { chargedNanousd, heldNanousd, queueMs, ttftMs, totalMs } = call;
  const { id = null, region = null } = call.attempt?.worker ?? {};
  const charged = chargedNanousd ?? 0n;
  const times = `"queue_ms":${queueMs},"ttft_ms":${ttftMs},"total_ms":${totalMs}`;
  const money = `"charged_nanousd":"${charged}","held_nanousd":"${heldNanousd}"`;
  const worker = `"worker":${idOrNull(id)},"region":${JSON.stringify(region)}`;
  return `"cost":${usdLiteral(charged)},"faregate":{"call":"${call.id}",${money},${times},${worker}}`;
}

/** The frame without its `usage` member, cut in its own memory: what follows moves up. Null, and nothing is changed, when it has none that can be cut. */
export function cutUsage(bytes: Uint8Array): Uint8Array | null {
  const at = findUsage(asBuffer(bytes));
  if (at === null || at.comma < 0) return null;
  const cut = at.close + 1 - at.comma;
  bytes.copyWithin(at.comma, at.close + 1);
  return bytes.subarray(0, bytes.length - cut);
}

/** A frame or body whose `usage` has further members too, JSON without braces. Null when it has no usage object. */
export function withCharge(bytes: Uint8Array, members: string): Buffer | null {
  const buffer = asBuffer(bytes);
  const at = findUsage(buffer);
  if (at === null) return null;
  const added = `,${members}`;
  const charged = Buffer.allocUnsafe(buffer.length + Buffer.byteLength(added));
  buffer.copy(charged, 0, 0, at.close);
  const end = at.close + charged.write(added, at.close);
  buffer.copy(charged, end, at.close);
  return charged;
}

const KEY = Buffer.from('"usage"');
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
function findUsage(buffer: Buffer): Span | null {
  const key = buffer.lastIndexOf(KEY);
  if (key < 0) return null;
  const colon = skipBlank(buffer, key + KEY.length, 1);
  const open = skipBlank(buffer, colon + 1, 1);
  if (buffer[colon] !== COLON || buffer[open] !== OPEN) return null;
  const before = skipBlank(buffer, key - 1, -1);
  let depth = 0;
  for (let at = open; at < buffer.length; at++) {
    if (buffer[at] === OPEN) depth++;
    else if (buffer[at] === CLOSE && --depth === 0) return { comma: buffer[before] === COMMA ? before : -1, close: at };
  }
  return null;
}

function skipBlank(buffer: Buffer, from: number, step: 1 | -1): number {
  let at = from;
  while (buffer[at] === 0x20 || buffer[at] === 0x09 || buffer[at] === 0x0a || buffer[at] === 0x0d) at += step;
  return at;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
