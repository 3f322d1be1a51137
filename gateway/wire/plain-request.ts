/**
 * Requests that are plain beyond doubt: a POST over HTTP/1.1 whose head came in one piece, with a length, each header once, and nothing that
 * changes how it is read. They are read here; all others are left to Node's own parser, which knows the whole protocol and refuses what is wrong.
 */
import { eachField, FIELD_LINES, HEAD_END, lengthOf } from './fields.ts';
import { LastHead } from './last-head.ts';

/** As node:http has it. */
const HEAD_BYTES_MAX = 16_384;

export interface PlainRequest extends PlainHead {
  /** Where the body begins in the bytes, and how long it is. */
  readonly bodyAt: number;
  readonly bodyBytes: number;
}

interface PlainHead {
  readonly path: string;
  /** By name in lower case; not the length. */
  readonly headers: ReadonlyMap<string, string>;
}

const requestHead = new RegExp(`^POST (/[A-Za-z0-9/_.-]*) HTTP/1\\.1\\r\\n${FIELD_LINES}\\r\\n$`);

/** What changes the reading of a request, and Origin, which changes its answer. */
const special = ['transfer-encoding', 'expect', 'upgrade', 'trailer', 'origin'];

/** The requests of one connection. */
export class PlainRequestReader {
  readonly #last = new LastHead<PlainHead>();

  /** The request that begins these bytes, or null where it is not plain or its head not whole. */
  read(bytes: Buffer): PlainRequest | null {
    const known = this.#last.repeated(bytes);
    if (known !== null)
      return { path: known.path, headers: known.headers, bodyAt: this.#last.end, bodyBytes: this.#last.length };
    const end = bytes.indexOf(HEAD_END);
    if (end < 0 || end > HEAD_BYTES_MAX - HEAD_END.length) return null;
    const bodyAt = end + HEAD_END.length;
    const text = bytes.toString('latin1', 0, bodyAt);
    const read = readHead(text);
    if (read === null) return null;
    const { path, headers, bodyBytes } = read;
    this.#last.remember(text, { path, headers });
    return { path, headers, bodyAt, bodyBytes };
  }
}

function readHead(head: string): (PlainHead & { readonly bodyBytes: number }) | null {
  const path = requestHead.exec(head)?.[1];
  if (path === undefined || head.includes('\t')) return null;
  const headers = new Map<string, string>();
  let lines = 0;
  eachField(head, head.indexOf('\r\n') + 2, (name, value) => {
    lines++;
    headers.set(name, value);
  });
  const isPlain = lines === headers.size && isKept(headers) && !special.some((name) => headers.has(name));
  const bodyBytes = lengthOf(headers.get('content-length') ?? '');
  headers.delete('content-length');
  return isPlain && bodyBytes !== null ? { path, headers, bodyBytes } : null;
}

/** It names its host, as it must, and wants its connection kept. */
function isKept(headers: ReadonlyMap<string, string>): boolean {
  const connection = headers.get('connection');
  const host = headers.get('host') ?? '';
  return host !== '' && (connection === undefined || connection.toLowerCase() === 'keep-alive');
}
