/** The head of an answer to a caller. */
import { STATUS_CODES } from 'node:http';
import { inOnePiece } from './fields.ts';

/** For how long an idle connection of a caller is kept. */
export const KEEP_ALIVE_MS = 65_000;

const KEPT = `connection: keep-alive\r\nkeep-alive: timeout=${KEEP_ALIVE_MS / 1000}\r\n\r\n`;
const CLOSED = 'connection: close\r\n\r\n';
const SECOND_MS = 1_000;

/** `lines` are its fields but for those that are written here; the body is so many bytes long, or null where it comes in chunks. */
export function answerHead(status: number, lines: string, bytes: number | null, isKept: boolean): string {
  const framing = bytes === null ? 'transfer-encoding: chunked' : `content-length: ${bytes}`;
  return `${statusLine(status)}${lines}${framing}${ending(isKept)}`;
}

const statusLines = new Map<number, string>();

function statusLine(status: number): string {
  const known = statusLines.get(status);
  if (known !== undefined) return known;
  const line = inOnePiece(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`);
  statusLines.set(status, line);
  return line;
}

/** The last lines of all heads of this second. */
let endings: { readonly kept: string; readonly closed: string } | null = null;

/** Of the date, RFC 9110, §5.6.7, and whether the connection is kept. */
function ending(isKept: boolean): string {
  endings ??= endingsOf(new Date());
  return isKept ? endings.kept : endings.closed;
}

function endingsOf(date: Date): NonNullable<typeof endings> {
  setTimeout(() => {
    endings = null;
  }, SECOND_MS - date.getUTCMilliseconds()).unref();
  const begin = `\r\ndate: ${date.toUTCString()}\r\n`;
  return { kept: inOnePiece(begin + KEPT), closed: inOnePiece(begin + CLOSED) };
}
