/**
 * The least of HTTP/1.1 that the worker and the load generator need: they share a core, and what they cost bounds what can be
 * measured. Reads one message after another off a connection; only lengths and chunks that Node itself writes are understood.
 */
import { Buffer } from 'node:buffer';

export interface MessageSink {
  /** The head as it came, without its blank line. */
  onHead(head: string): void;
  /** A part of the body, without the marks of its chunks. */
  onBody(bytes: Buffer): void;
  onEnd(): void;
}

const HEAD_END = '\r\n\r\n';
const LINE_END = '\r\n';
const LENGTH = /\r\ncontent-length: *(\d+)/i;
const CHUNKED = /\r\ntransfer-encoding: *chunked/i;

/** Where the next byte belongs. */
type Place = 'head' | 'body' | 'chunk size' | 'chunk' | 'trailer';

export class MessageReader {
  readonly #sink: MessageSink;
  #place: Place = 'head';
  #left = 0;
  #last = false;
  #stopped = false;
  /** A head or a size line that is not complete yet. */
  #rest: Buffer = Buffer.alloc(0);

  constructor(sink: MessageSink) {
    this.#sink = sink;
  }

  push(read: Buffer): void {
    let bytes = this.#rest.length === 0 ? read : Buffer.concat([this.#rest, read]);
    this.#rest = Buffer.alloc(0);
    while (bytes.length > 0 && !this.#stopped) {
      const taken = this.#take(bytes);
      if (taken === 0) {
        this.#rest = bytes;
        return;
      }
      bytes = bytes.subarray(taken);
    }
  }

  /** From here on nothing is told any more, not even of what was read already. */
  stop(): void {
    this.#stopped = true;
  }

  /** How many bytes were understood; 0 when more are needed first. */
  #take(bytes: Buffer): number {
    if (this.#place === 'head') return this.#takeHead(bytes);
    if (this.#place === 'chunk size') return this.#takeSize(bytes);
    if (this.#place === 'trailer') return this.#takeTrailer(bytes);
    const part = bytes.length <= this.#left ? bytes : bytes.subarray(0, this.#left);
    this.#left -= part.length;
    this.#sink.onBody(part);
    if (this.#left > 0) return part.length;
    if (this.#place === 'body') this.#end();
    else this.#place = 'trailer';
    return part.length;
  }

  #takeHead(bytes: Buffer): number {
    const end = bytes.indexOf(HEAD_END);
    if (end < 0) return 0;
    const head = bytes.toString('latin1', 0, end);
    this.#sink.onHead(head);
    if (CHUNKED.test(head)) this.#place = 'chunk size';
    else {
      this.#left = Number(LENGTH.exec(head)?.[1] ?? 0);
      this.#place = 'body';
      if (this.#left === 0) this.#end();
    }
    return end + HEAD_END.length;
  }

  #takeSize(bytes: Buffer): number {
    const end = bytes.indexOf(LINE_END);
    if (end < 0) return 0;
    this.#left = Number.parseInt(bytes.toString('latin1', 0, end), 16);
    this.#place = this.#left === 0 ? 'trailer' : 'chunk';
    this.#last = this.#left === 0;
    return end + LINE_END.length;
  }

  #takeTrailer(bytes: Buffer): number {
    if (bytes.length < LINE_END.length) return 0;
    if (this.#last) this.#end();
    else this.#place = 'chunk size';
    return LINE_END.length;
  }

  #end(): void {
    this.#place = 'head';
    this.#last = false;
    if (!this.#stopped) this.#sink.onEnd();
  }
}
