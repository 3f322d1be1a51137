/** A request as it is sent to a worker. */
import type { OutboundRequest } from '../../router/outbound.ts';
import { fieldLine } from './fields.ts';

/** The head with its empty line; the length is its body's, where it has one. Throws `TypeError` where a header could end its line early. */
export function requestHead({ target, method, headers }: OutboundRequest, bodyBytes: number | undefined): string {
  let head = `${method} ${target.path} HTTP/1.1\r\nhost: ${target.host}\r\n`;
  for (const name in headers) head += fieldLine(name, headers[name] ?? '');
  if (bodyBytes !== undefined) head += `content-length: ${bodyBytes}\r\n`;
  return `${head}\r\n`;
}
