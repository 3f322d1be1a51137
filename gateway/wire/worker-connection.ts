/** One connection to a worker: one call at a time, kept for the next one. */
import type { Socket } from 'node:net';
import type { OutboundRequest } from '../../router/outbound.ts';
import { AnswerReader, type AnswerReceiver } from './answer-reader.ts';
import { writeWhole } from './framing.ts';
import { requestHead } from './request-text.ts';

/** Hears one answer, and in its place, or in its middle, why none comes. After `onEnd` or `onError` nothing more is called. */
export interface CallReceiver extends AnswerReceiver {
  onError(error: Error): void;
}

export class WorkerConnection {
  readonly #socket: Socket;
  readonly #reader = new AnswerReader();
  readonly #freed: (keptMs: number) => void;
  #receiver: CallReceiver | null = null;
  #error: Error | null = null;

  /** `freed` hears that another call may be sent, and for how long, and `gone` that never again one can be. */
  constructor(socket: Socket, told: { freed: (keptMs: number) => void; gone: () => void }) {
    this.#socket = socket;
    this.#freed = told.freed;
    socket.on('data', (bytes: Buffer) => this.#read(bytes));
    socket.on('end', () => this.#closed());
    socket.on('error', (error) => {
      this.#error = error;
    });
    socket.on('close', () => {
      this.#fail(this.#error ?? new Error('the connection was closed'));
      told.gone();
    });
  }

  get isOpen(): boolean {
    return !this.#socket.destroyed;
  }

  /** Throws `TypeError` where the request cannot be sent; the connection is free then. */
  send(request: OutboundRequest, receiver: CallReceiver): void {
    const { body = '' } = request;
    const bytes = Buffer.byteLength(body);
    const head = requestHead(request, request.body === undefined ? undefined : bytes);
    this.#receiver = receiver;
    this.#reader.begin(receiver);
    writeWhole(this.#socket, head, body, bytes);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Who waits for an answer hears of it. */
  close(reason: Error): void {
    this.#fail(reason);
    this.#socket.destroy();
  }

  #read(bytes: Buffer): void {
    try {
      this.#reader.read(bytes);
      if (this.#reader.idle) this.#ended();
    } catch (error) {
      this.close(error as Error);
    }
  }

  /** The answer is complete. A worker that answered before it had read the request cannot be asked again over this connection. */
  #ended(): void {
    this.#receiver = null;
    const { keptMs } = this.#reader;
    if (keptMs === 0 || this.#socket.writableLength > 0) this.#socket.destroy();
    else {
      if (this.#socket.isPaused()) this.#socket.resume();
      this.#freed(keptMs);
    }
  }

  #closed(): void {
    try {
      this.#reader.closed();
      this.#receiver = null;
    } catch (error) {
      this.#fail(error as Error);
    }
    this.#socket.destroy();
  }

  #fail(error: Error): void {
    const receiver = this.#receiver;
    this.#receiver = null;
    receiver?.onError(error);
  }
}
