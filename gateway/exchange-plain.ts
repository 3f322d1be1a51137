/** The Exchange over a caller's own socket, for requests that are plain. */
import { Ending } from '../router/ending.ts';
import type { Limits } from './config.ts';
import { bodyTimeout, CallerLeft, type Exchange, type Head } from './exchange.ts';
import { answerHead } from './wire/answer-head.ts';
import type { CallerConnection } from './wire/caller-connection.ts';
import { byteText, chunkOf, joined, LAST_CHUNK } from './wire/framing.ts';
import type { PlainRequest } from './wire/plain-request.ts';

export class PlainExchange implements Exchange {
  readonly control = new Ending();
  headSent = false;
  readonly #request: PlainRequest;
  readonly #connection: CallerConnection;
  readonly #limits: Limits;
  /** Sent with the first bytes that follow it. */
  #head: Head | null = null;
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

  head(head: Head): void {
    this.#head = head;
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
    const bytes = this.#head?.bytes ?? Buffer.byteLength(body);
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

  /** The head's text where it has not left yet; the whole body is so many bytes long, or more follows and nobody knows: null. */
  #takeHead(bytes: number | null): string {
    const head = this.#head;
    if (head === null) return '';
    this.#head = null;
    const length = head.bytes ?? bytes;
    this.#inChunks = length === null;
    return answerHead(head.status, head.lines, length, this.#connection.keep(head.closes !== true));
  }
}
