/** A request as it is sent to a worker. */
import type { OutboundRequest, Target } from '../../router/outbound.ts';
import { fieldLines, inOnePiece } from './fields.ts';

/** The head with its empty line; the length is its body's, where it has one. Throws `TypeError` where a header could end its line early. */
export function requestHead({ target, method, headers }: OutboundRequest, bodyBytes: number | undefined): string {
  const length = bodyBytes === undefined ? '' : `content-length: ${bodyBytes}\r\n`;
  return `${method} ${commonLines(target)}${fieldLines(headers)}${length}\r\n`;
}

const known = new WeakMap<Target, string>();

/** What all requests to a target begin with, after their method. */
function commonLines(target: Target): string {
  let lines = known.get(target);
  if (lines === undefined) {
    lines = inOnePiece(`${target.path} HTTP/1.1\r\nhost: ${target.host}\r\n${fieldLines(target.headers)}`);
    known.set(target, lines);
  }
  return lines;
}
