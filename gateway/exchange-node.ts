/** The Exchange over Node's own request and response. */
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { Ending } from '../router/ending.ts';
import type { Limits } from './config.ts';
import { type ApiError, apiError } from './errors.ts';
import { bodyTimeout, CallerLeft, type Exchange, type Head } from './exchange.ts';
import { LINGER_MS } from './wire/caller-connection.ts';
import { fieldsOf } from './wire/fields.ts';
import { byteText, chunkOf, joined, LAST_CHUNK, TEXT_BYTES_MAX } from './wire/framing.ts';

/**
 * Bytes are handed to Node as text of one byte a character, and chunks are framed here: an event of a stream is then one string, written at once,
 * where Node would make four pieces of it and gather them.
 */
export class NodeExchange implements Exchange {
  readonly control = new Ending();
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #limits: Limits;
  /** The answer has no length of its own. */
  #inChunks = false;

  constructor(request: IncomingMessage, response: ServerResponse, limits: Limits) {
    this.#request = request;
    this.#response = response;
    this.#limits = limits;
    response.on('close', () => {
      if (!response.writableFinished) this.control.abort(new CallerLeft());
    });
  }

  get headSent(): boolean {
    return this.#response.headersSent;
  }

  header(name: string): string | undefined {
    const value = this.#request.headers[name];
    return Array.isArray(value) ? value[0] : value;
  }

  body(): Promise<Uint8Array> {
    return readBody(this.#request, this.#limits);
  }

  head({ status, lines, bytes, closes }: Head): void {
    const fields: OutgoingHttpHeaders = fieldsOf(lines);
    if (bytes !== undefined) fields['content-length'] = bytes;
    if (closes === true) fields.connection = 'close';
    this.#response.writeHead(status, fields);
    this.#inChunks = this.#response.chunkedEncoding;
    this.#response.chunkedEncoding = false;
  }

  write(bytes: Uint8Array | string): boolean {
    const text = byteText(bytes);
    return this.#response.write(this.#inChunks ? chunkOf(text) : text, 'latin1');
  }

  onDrain(listener: () => void): void {
    this.#response.on('drain', listener);
  }

  end(bytes?: Uint8Array | string): void {
    if (this.#inChunks)
      this.#response.end(`${bytes === undefined ? '' : chunkOf(byteText(bytes))}${LAST_CHUNK}`, 'latin1');
    else if (bytes === undefined) this.#response.end();
    else if (bytes.length > TEXT_BYTES_MAX) this.#response.end(bytes);
    else this.#response.end(byteText(bytes), 'latin1');
    if (!this.#request.complete) this.#discardBody();
  }

  /** The rest of a refused body is read and dropped for a moment: closing at once would reset the answer away. */
  #discardBody(): void {
    this.#request.resume();
    const timer = setTimeout(() => this.#request.destroy(), LINGER_MS);
    this.#request.once('close', () => clearTimeout(timer));
  }
}

/** Whether one request names itself twice: Node silently keeps the first header, another hop may keep the last. */
export function repeatsAuthorization(request: IncomingMessage): boolean {
  let seen = 0;
  const raw = request.rawHeaders;
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at];
    if (name?.length === 13 && name.toLowerCase() === 'authorization') seen++;
  }
  return seen > 1;
}

function tooLarge(limits: Limits): ApiError {
  return apiError('body_too_large', `The body is larger than ${limits.bodyBytes} bytes: send a shorter prompt.`);
}

function readBody(request: IncomingMessage, limits: Limits): Promise<Uint8Array> {
  const left = (cause?: Error) => new CallerLeft({ cause });
  if (Number(request.headers['content-length'] ?? 0) > limits.bodyBytes) return Promise.reject(tooLarge(limits));
  // Its events are over: nothing would ever come.
  if (request.destroyed) return Promise.reject(left());
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    // Most come in one piece with their head: they are here already.
    const timer = request.complete ? undefined : setTimeout(() => reject(bodyTimeout(limits.bodyMs)), limits.bodyMs);
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > limits.bodyBytes) {
        request.pause();
        clearTimeout(timer);
        reject(tooLarge(limits));
      } else chunks.push(chunk);
    });
    request.on('end', () => {
      clearTimeout(timer);
      resolve(joined(chunks));
    });
    request.on('error', (error) => {
      clearTimeout(timer);
      reject(left(error));
    });
  });
}
