/** A request as it is sent to a worker. */
import type { OutboundRequest } from '../../router/outbound.ts';
import { fieldLines } from './fields.ts';

/** The head with its empty line; the length is its body's, where it has one. Throws `TypeError` where a header could end its line early. */
export function requestHead({ target, method, headers }: OutboundRequest, bodyBytes: number | undefined): string {
  const length = bodyBytes === undefined ? '' : `content-length: ${bodyBytes}\r\n`;
  return `${method} ${target.path} HTTP/1.1\r\nhost: ${target.host}\r\n${fieldLines(headers)}${length}\r\n`;
}
