/** What the head of an answer says of its call. */
import type { Call } from './call.ts';
import type { HeadFields } from './head-fields.ts';
import { fieldLines } from './wire/fields.ts';
import { wordsOf } from './worker-words.ts';

export const JSON_TYPE = 'content-type: application/json\r\n';
export const STREAM_TYPE =
  'content-type: text/event-stream; charset=utf-8\r\ncache-control: no-store, no-transform\r\nx-accel-buffering: no\r\n';

/** The lines of the head: the body's type, what is known of the call when they leave, what its payer is told, and `more` of this answer alone. */
export function linesOf(call: Call, type: string, more: HeadFields): string {
  const { id, isHeld, clampedMaxTokens, ignored, attempts, attempt, chargedNanousd } = call;
  let lines = `${type}x-request-id: ${id}\r\nx-faregate-call: ${id}\r\n${call.rateLines}`;
  if (isHeld) lines += `x-faregate-held-nanousd: ${call.heldNanousd}\r\n`;
  if (clampedMaxTokens !== null) lines += `x-faregate-max-tokens: ${clampedMaxTokens}\r\n`;
  if (ignored.length > 0) lines += `x-faregate-ignored: ${ignored.join(', ')}\r\n`;
  if (attempts > 0) lines += `x-faregate-attempts: ${attempts}\r\n`;
  if (attempt !== null) {
    const predictedMs = Math.round(attempt.predictedTtftMs);
    lines += `${wordsOf(attempt.worker).lines}x-faregate-predicted-ttft-ms: ${predictedMs}\r\n`;
  }
  if (chargedNanousd !== null) lines += `x-faregate-charged-nanousd: ${chargedNanousd}\r\n`;
  return lines + fieldLines({ ...call.payerFields, ...more });
}
