/** The head of an answer to a caller, in two parts: how its body ends is known when its first bytes are. */
import { STATUS_CODES } from 'node:http';
import type { HeadFields } from '../head-fields.ts';
import { fieldLines } from './fields.ts';

/** For how long an idle connection of a caller is kept. */
export const KEEP_ALIVE_MS = 65_000;

const KEPT = `connection: keep-alive\r\nkeep-alive: timeout=${KEEP_ALIVE_MS / 1000}\r\n`;
const CLOSED = 'connection: close\r\n';

/** Status line and fields but for `connection`. Throws `TypeError` where a header could end its line early. */
export function headLines(status: number, headers: HeadFields): string {
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${fieldLines(headers)}`;
}

/** The rest of it. `framing` is the line that says how the body ends, where none of the fields did. */
export function headEnd(framing: string, isKept: boolean): string {
  return `${framing}date: ${httpDate()}\r\n${isKept ? KEPT : CLOSED}\r\n`;
}

const SECOND_MS = 1_000;
/** Empty when its second is over. */
let dateText = '';

/** Now, RFC 9110, §5.6.7. */
function httpDate(): string {
  if (dateText === '') {
    const date = new Date();
    dateText = date.toUTCString();
    setTimeout(() => {
      dateText = '';
    }, SECOND_MS - date.getUTCMilliseconds()).unref();
  }
  return dateText;
}
