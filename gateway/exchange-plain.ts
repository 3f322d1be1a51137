/** The Exchange over a caller's own socket, for requests that are plain. */
import { Ending } from '../router/ending.ts';
import type { Limits } from './config.ts';
import { bodyTimeout, CallerLeft, type Exchange } from './exchange.ts';
import type { HeadFields } from './head-fields.ts';
import { headEnd, headLines } from './wire/answer-head.ts';
import type { CallerConnection } from './wire/caller-connection.ts';
import { byteText, chunkOf, joined, LAST_CHUNK } from './wire/framing.ts';
import type { PlainRequest } from './wire/plain-request.ts';

export class PlainExchange implements Exchange {
  readonly control = new Ending();
  headSent = false;
  readonly #request: PlainRequest;
  readonly #connection: CallerConnection;
  readonly #limits: Limits;
  /** What was told of the head: it is sent with the first bytes that follow it. */
  #lines = '';
  #headers: HeadFields = {};
  #inChunks = false;
  /** The answer has ended: what is said after it must not get into the next one's. */
  #over = false;
  readonly #parts: Uint8Array[] = [];
  #bodyIsWhole = false;
  /** Who waits for the rest of the body. */
  #waiting: { whole: () => void; left: () => void } | null = null;

  constructor(request: PlainRequest, connection: CallerConnection, limits: Limits) {
    this.#request = request;
    this.#connection = connection;
    this.#limits = limits;
  }

  header(name: string): string | undefined {
    return this.#request.headers.get(name);
  }

  body(): Uint8Array | Promise<Uint8Array> {
    if (this.#bodyIsWhole) return joined(this.#parts);
    const left = () => new CallerLeft();
    if (this.control.aborted) return Promise.reject(left());
    this.#connection.readOn();
    return new Promise((resolve, reject) => {
      const { bodyMs } = this.#limits;
      const timer = setTimeout(() => reject(bodyTimeout(bodyMs)), bodyMs);
      const over = (settle: () => void) => () => {
        clearTimeout(timer);
        settle();
      };
      this.#waiting = { whole: over(() => resolve(joined(this.#parts))), left: over(() => reject(left())) };
    });
  }

  head(status: number, headers: HeadFields): void {
    this.#lines = headLines(status, headers);
    this.#headers = headers;
    this.headSent = true;
  }

  write(bytes: Uint8Array | string): boolean {
    if (this.#over) return true;
    const head = this.#takeHead(null);
    const text = byteText(bytes);
    return this.#connection.write(head + (this.#inChunks ? chunkOf(text) : text));
  }

  onDrain(listener: () => void): void {
    this.#connection.onDrain = listener;
  }

  end(body: Uint8Array | string = ''): void {
    if (this.#over) return;
    this.#over = true;
    const bytes = this.#bytesOf(body);
    const head = this.#takeHead(bytes);
    if (this.#inChunks) this.#connection.write(head + chunkOf(byteText(body, bytes)) + LAST_CHUNK);
    else this.#connection.writeWhole(head, body, bytes);
    this.#connection.ended();
  }

  /** A part of the body has come, the last one or not. */
  take(part: Uint8Array, isLast: boolean): void {
    this.#parts.push(part);
    if (!isLast) return;
    this.#bodyIsWhole = true;
    this.#waiting?.whole();
  }

  /** The connection is gone before its answer ended. */
  callerLeft(): void {
    this.#waiting?.left();
    this.control.abort(new CallerLeft());
  }

  /** Told by a head that has not left yet, it is that of the whole body: to count a text's again is to read it all. */
  #bytesOf(body: Uint8Array | string): number {
    const { 'content-length': told } = this.#headers;
    return this.#lines !== '' && typeof told === 'number' ? told : Buffer.byteLength(body);
  }

  /** The head's text where it has not left yet, with the length of the whole body, or null when more follows. */
  #takeHead(bytes: number | null): string {
    const lines = this.#lines;
    if (lines === '') return '';
    this.#lines = '';
    const { connection, 'content-length': told } = this.#headers;
    this.#inChunks = bytes === null && told === undefined;
    return lines + headEnd(framing(bytes, told), this.#connection.keep(connection !== 'close'));
  }
}

function framing(bytes: number | null, told: string | number | undefined): string {
  if (told !== undefined) return '';
  return bytes === null ? 'transfer-encoding: chunked\r\n' : `content-length: ${bytes}\r\n`;
}
