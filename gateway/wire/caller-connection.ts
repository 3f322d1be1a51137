/** One connection of a caller, for as long as its requests are plain: one call at a time. */
import type { Socket } from 'node:net';
import { KEEP_ALIVE_MS } from './answer-head.ts';
import { writeWhole } from './framing.ts';
import { type PlainRequest, PlainRequestReader } from './plain-request.ts';

/** What the connection asks of those who own it. */
export interface CallerHost {
  /** Longest wait for the first byte of a new connection. */
  readonly firstByteMs: number;
  /** False: each answer is its connection's last. */
  readonly keeps: () => boolean;
  /** Begins a call, or says null where it serves no such request. */
  readonly serve: (request: PlainRequest, connection: CallerConnection) => ServedCall | null;
  /** Takes the connection and what has been read of its next request. Nothing here touches it any more. */
  readonly handOver: (bytes: Buffer) => void;
  readonly gone: () => void;
}

/** A call as its connection sees it. */
export interface ServedCall {
  /** A part of the body has come, the last one or not. */
  take(part: Uint8Array, isLast: boolean): void;
  /** The connection is gone before its answer ended. */
  callerLeft(): void;
}

/** For how long the rest of a refused body is read and dropped: closing at once would reset the answer away. */
export const LINGER_MS = 1_000;

export class CallerConnection {
  /** Called when a caller who read too slowly has caught up. */
  onDrain: () => void = () => {};
  readonly #socket: Socket;
  readonly #host: CallerHost;
  readonly #requests = new PlainRequestReader();
  /** From the request to the end of its answer. */
  #call: ServedCall | null = null;
  /** Bytes of the body that are still to come. */
  #missing = 0;
  /** What came of the next request before its turn. */
  #early: Buffer | null = null;
  /** Since when it was seen without a call; null before it was. */
  #idleSinceMs: number | null = null;
  #isNew = true;
  #isKept = true;
  #lingering: ReturnType<typeof setTimeout> | undefined;
  readonly #onData = (bytes: Buffer) => this.#read(bytes);
  readonly #onEnd = () => this.#socket.destroySoon();
  readonly #onClose = () => this.#closed();
  readonly #onError = () => {};
  readonly #onDrained = () => this.#drained();

  constructor(socket: Socket, host: CallerHost) {
    this.#socket = socket;
    this.#host = host;
    socket.setNoDelay(true);
    socket.on('data', this.#onData);
    socket.on('end', this.#onEnd);
    socket.on('close', this.#onClose);
    socket.on('error', this.#onError);
    socket.on('drain', this.#onDrained);
  }

  /** Decides whether the connection stays after this answer, for its head to say so. */
  keep(wanted: boolean): boolean {
    this.#isKept = wanted && this.#missing === 0 && this.#host.keeps();
    return this.#isKept;
  }

  /** Text of one byte a character. Returns false when the caller reads too slowly: see `onDrain`. */
  write(text: string): boolean {
    return this.#socket.write(text, 'latin1');
  }

  /** The whole answer: its head as such text, its body of so many bytes. */
  writeWhole(head: string, body: Uint8Array | string, bytes: number): void {
    writeWhole(this.#socket, head, body, bytes);
  }

  /** The body is wanted: until then no more than one read of it is taken. */
  readOn(): void {
    this.#socket.resume();
  }

  /** The last byte of the answer was written. */
  ended(): void {
    this.#call = null;
    this.onDrain = () => {};
    this.#idleSinceMs = null;
    if (this.#missing > 0) {
      this.#lingering = setTimeout(() => this.#socket.destroy(), LINGER_MS);
      this.#socket.resume();
    } else if (!this.#isKept || !this.#host.keeps()) this.#socket.destroySoon();
    else this.#next();
  }

  /** Closes a connection that has no call, at once or when it has been so for too long. */
  closeIdle(atOnce: boolean): void {
    if (this.#call !== null) return;
    const nowMs = performance.now();
    this.#idleSinceMs ??= nowMs;
    const idleMs = nowMs - this.#idleSinceMs;
    if (atOnce || idleMs > (this.#isNew ? this.#host.firstByteMs : KEEP_ALIVE_MS)) this.#socket.destroySoon();
  }

  close(): void {
    this.#socket.destroy();
  }

  #read(bytes: Buffer): void {
    if (this.#missing > 0) this.#takeBody(bytes);
    else if (this.#call !== null) this.#keepEarly(bytes);
    else this.#begin(bytes);
  }

  #begin(bytes: Buffer): void {
    this.#isNew = false;
    const request = this.#requests.read(bytes);
    const call = request === null ? null : this.#host.serve(request, this);
    if (request === null || call === null) {
      this.#handOver(bytes);
      return;
    }
    this.#call = call;
    this.#missing = request.bodyBytes;
    this.#takeBody(bytes.subarray(request.bodyAt));
    if (this.#missing > 0) this.#socket.pause();
  }

  /** Hands the call its body; after a refusal what still comes of it is dropped. */
  #takeBody(bytes: Buffer): void {
    const part = bytes.length > this.#missing ? bytes.subarray(0, this.#missing) : bytes;
    this.#missing -= part.length;
    this.#call?.take(part, this.#missing === 0);
    if (this.#call === null && this.#missing === 0) this.#socket.destroySoon();
    else if (part.length < bytes.length) this.#keepEarly(bytes.subarray(part.length));
  }

  /** Another request before this one's answer: it waits, and what comes after it waits in the kernel. */
  #keepEarly(bytes: Buffer): void {
    this.#early = this.#early === null ? bytes : Buffer.concat([this.#early, bytes]);
    this.#socket.pause();
  }

  /** Who asks for more without reading what it was answered waits. */
  #next(): void {
    const early = this.#early;
    if (early === null || this.#socket.writableNeedDrain) return;
    this.#early = null;
    this.#socket.resume();
    this.#begin(early);
  }

  #drained(): void {
    if (this.#call === null) this.#next();
    else this.onDrain();
  }

  #closed(): void {
    clearTimeout(this.#lingering);
    this.#call?.callerLeft();
    this.#call = null;
    this.#early = null;
    this.#host.gone();
  }

  #handOver(bytes: Buffer): void {
    const socket = this.#socket;
    socket.off('data', this.#onData);
    socket.off('end', this.#onEnd);
    socket.off('close', this.#onClose);
    socket.off('error', this.#onError);
    socket.off('drain', this.#onDrained);
    this.#host.gone();
    this.#host.handOver(bytes);
  }
}
