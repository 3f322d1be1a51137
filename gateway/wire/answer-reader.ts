/** Answers as they come over one connection (RFC 9112), and nothing that could be read in two ways. */
import { ChunkReader } from './chunks.ts';
import { eachField, FIELD_LINES, HEAD_END, lengthOf, VALUE } from './fields.ts';
import { LastHead } from './last-head.ts';
import { WireError } from './wire-error.ts';

export const ANSWER_HEAD_BYTES_MAX = 64 * 1024;

/** Hears one answer. */
export interface AnswerReceiver {
  onHead(status: number, contentType: string): void;
  onBody(bytes: Uint8Array): void;
  onEnd(): void;
}

type Body = { readonly kind: 'counted'; left: number } | ChunkReader | 'until close';

/** What a head says, but for its length. */
interface Said {
  readonly status: number;
  readonly contentType: string;
  readonly body: 'none' | 'counted' | 'chunked' | 'until close';
  readonly keptMs: number;
}

const answerHead = new RegExp(`^HTTP/1\\.([01]) ([1-9]\\d\\d)(?: ${VALUE})?\\r\\n${FIELD_LINES}\\r\\n$`);

/** Reads one answer after the other; `begin` comes before each. */
export class AnswerReader {
  /** For how long the connection is good for another request, once the answer has ended: 0 when it is not, infinite when nothing was said. */
  keptMs = 0;
  #receiver: AnswerReceiver | null = null;
  /** The beginning of a head whose end has not come yet. */
  #early: Buffer | null = null;
  /** Null until the head is there. */
  #body: Body | null = null;
  readonly #last = new LastHead<Said>();

  /** Nothing is expected: whatever comes is wrong. */
  get idle(): boolean {
    return this.#receiver === null;
  }

  begin(receiver: AnswerReceiver): void {
    this.#receiver = receiver;
    this.#body = null;
    this.keptMs = 0;
  }

  /** What one read brought. Throws `WireError`: then the connection is of no use any more. */
  read(bytes: Buffer): void {
    if (this.idle) throw new WireError('bytes came that nobody asked for');
    let at = this.#early === null ? this.#repeat(bytes) : 0;
    while (this.#body === null) {
      const whole = this.#early === null ? bytes : Buffer.concat([this.#early, bytes]);
      const end = whole.indexOf(HEAD_END, at);
      if (end < 0) {
        this.#keep(whole.subarray(at));
        return;
      }
      this.#early = null;
      this.#head(whole.toString('latin1', at, end + HEAD_END.length));
      at = end + HEAD_END.length;
      bytes = whole;
    }
    this.#take(this.#body, bytes, at);
  }

  /** The other side will send no more. Throws where an answer was still to come. */
  closed(): void {
    const receiver = this.#receiver;
    if (receiver === null) return;
    if (this.#body !== 'until close') throw new WireError('the connection was closed before the answer ended');
    this.#end();
  }

  #keep(bytes: Buffer): void {
    if (bytes.length > ANSWER_HEAD_BYTES_MAX) throw new WireError('the head of the answer is too long');
    this.#early = bytes;
  }

  /** Takes a head that is the last one's again, and answers where it ends. */
  #repeat(bytes: Buffer): number {
    const known = this.#body === null ? this.#last.repeated(bytes) : null;
    if (known === null) return 0;
    this.#open(known, this.#last.length);
    return this.#last.end;
  }

  #head(text: string): void {
    const parts = text.length > ANSWER_HEAD_BYTES_MAX ? null : answerHead.exec(text);
    if (parts === null) throw new WireError('the head of the answer is malformed');
    const status = Number(parts[2]);
    if (status === 101) throw new WireError('the other side wants another protocol');
    if (status < 200) return;
    const fields: Fields = {};
    eachField(text, text.indexOf('\r\n') + 2, (name, value) => note(fields, name, value));
    const length = lengthOf(fields['content-length'] ?? '');
    const body = bodyOf(status, fields, length);
    const isKept = body !== 'until close' && keepsConnection(parts[1], fields.connection);
    const keptMs = isKept ? keptMsOf(fields['keep-alive']) : 0;
    const said = { status, contentType: fields['content-type'] ?? '', body, keptMs };
    this.#open(said, length ?? 0);
    this.#last.remember(text, said);
  }

  #open({ status, contentType, body, keptMs }: Said, length: number): void {
    this.keptMs = keptMs;
    if (body === 'chunked') this.#body = new ChunkReader();
    else if (body === 'until close') this.#body = body;
    else this.#body = { kind: 'counted', left: body === 'none' ? 0 : length };
    this.#receiver?.onHead(status, contentType);
  }

  #take(body: Body, bytes: Buffer, at: number): void {
    if (body === 'until close') {
      if (at < bytes.length) this.#receiver?.onBody(bytes.subarray(at));
    } else if (body instanceof ChunkReader) {
      body.read(bytes, at);
      if (body.to > body.from) this.#receiver?.onBody(bytes.subarray(body.from, body.to));
      if (body.ended) this.#end(body.at < bytes.length);
    } else {
      const end = Math.min(at + body.left, bytes.length);
      body.left -= end - at;
      if (end > at) this.#receiver?.onBody(bytes.subarray(at, end));
      if (body.left === 0) this.#end(end < bytes.length);
    }
  }

  /** More than the answer came: what it is, nobody asked for. */
  #end(more = false): void {
    const receiver = this.#receiver;
    this.#receiver = null;
    this.#body = null;
    if (more) this.keptMs = 0;
    receiver?.onEnd();
  }
}

/** What anybody asks of a head. */
interface Fields {
  'content-type'?: string;
  'content-length'?: string;
  'transfer-encoding'?: string;
  connection?: string;
  'keep-alive'?: string;
}

/** Several lines of one name are one list, RFC 9110, §5.3. */
function note(fields: Fields, name: string, value: string): void {
  switch (name) {
    case 'content-type':
    case 'content-length':
    case 'transfer-encoding':
    case 'connection':
    case 'keep-alive': {
      const before = fields[name];
      fields[name] = before === undefined ? value : `${before}, ${value}`;
    }
  }
}

/** How the body ends, RFC 9112, §6.3. Two answers to that are none. */
function bodyOf(status: number, fields: Fields, length: number | null): Said['body'] {
  const { 'transfer-encoding': coding, 'content-length': told } = fields;
  if (status === 204 || status === 304) return 'none';
  if (coding !== undefined) {
    if (told !== undefined || coding.toLowerCase() !== 'chunked')
      throw new WireError('the length of the answer is unclear');
    return 'chunked';
  }
  if (told === undefined) return 'until close';
  if (length === null) throw new WireError('the length of the answer is unclear');
  return 'counted';
}

/** RFC 9112, §9.3. */
function keepsConnection(minorVersion: string | undefined, connection = ''): boolean {
  const said = connection.toLowerCase();
  return minorVersion === '1' ? !said.includes('close') : said === 'keep-alive';
}

const WAY_MS = 1_000;

/** What a server says of its patience, less what a request needs on its way: one that finds the connection closed is lost. */
function keptMsOf(keepAlive = ''): number {
  const seconds = /\btimeout=(\d{1,6})\b/i.exec(keepAlive)?.[1];
  return seconds === undefined ? Number.POSITIVE_INFINITY : Math.max(0, Number(seconds) * 1_000 - WAY_MS);
}
