import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Failure, pythonJson } from './failure.ts';

/** How the bytes of a stream are put on the wire. Faults choose the odd ones. */
export interface Delivery {
  /** Bytes per piece; every event is one piece by default. */
  readonly pieceBytes: number;
  /** Time between pieces, ms. */
  readonly pieceMs: number;
}

/** One request and its answer on the wire. */
export class Exchange {
  readonly request: IncomingMessage;
  /** The request id: the caller's, or a random one. */
  readonly requestId: string;
  readonly path: string;
  delivery: Delivery | null = null;
  private readonly response: ServerResponse;
  private readonly tellId: boolean;
  private bare = false;
  private comments: NodeJS.Timeout | null = null;
  private pieces: Promise<void> | null = null;

  constructor(request: IncomingMessage, response: ServerResponse, requestId: string, tellId: boolean) {
    this.request = request;
    this.response = response;
    this.requestId = requestId;
    this.tellId = tellId;
    this.path = (request.url ?? '/').split('?', 1)[0] ?? '/';
  }

  /** A header of the request, as text. */
  header(name: string): string | undefined {
    const value = this.request.headers[name];
    return Array.isArray(value) ? value.join(', ') : value;
  }

  get headSent(): boolean {
    return this.response.headersSent;
  }

  /** Calls back when the caller hung up before the answer was complete. */
  onHangUp(callback: () => void): void {
    this.response.once('close', () => {
      if (!this.response.writableFinished) {
        callback();
      }
    });
  }

  json(status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): void {
    this.text(status, JSON.stringify(body), { 'content-type': 'application/json', ...headers });
  }

  text(status: number, body: string, headers: Record<string, string>): void {
    if (this.response.headersSent || this.response.destroyed) {
      return;
    }
    const bytes = Buffer.from(body);
    this.head(status, { 'content-length': String(bytes.length), ...headers });
    this.response.end(this.request.method === 'HEAD' ? undefined : bytes);
  }

  fail({ status, body, allow, bare }: Failure): void {
    this.bare = bare;
    this.json(status, body, allow === null ? {} : { allow });
  }

  /** Sends the head of a stream now. With an interval, comments fill the silence between events. */
  openStream(commentMs: number): void {
    this.head(200, { 'content-type': 'text/event-stream; charset=utf-8', 'transfer-encoding': 'chunked' });
    this.response.flushHeaders();
    if (commentMs > 0) {
      const comments = setInterval(() => this.response.write(': keep-alive\n\n'), commentMs);
      this.response.once('close', () => clearInterval(comments));
      this.comments = comments;
    }
  }

  /** Sends one or more whole lines of a stream as one HTTP chunk. */
  send(text: string): void {
    this.comments?.refresh();
    if (this.delivery === null && this.pieces === null) {
      this.response.write(text);
      return;
    }
    this.pieces = (this.pieces ?? Promise.resolve()).then(() => this.sendPieces(Buffer.from(text)));
  }

  sendEvent(json: string): void {
    this.send(`data: ${json}\n\n`);
  }

  sendFailure(failure: Failure): void {
    this.sendEvent(pythonJson(failure.body));
  }

  endStream(): void {
    clearInterval(this.comments ?? undefined);
    if (this.pieces === null) {
      this.response.end();
    } else {
      this.pieces = this.pieces.then(() => void this.response.end());
    }
  }

  /** Ends the connection with no last chunk, after what was written so far. */
  cut(): void {
    this.response.socket?.destroySoon();
  }

  /** Resets the connection in the middle of a chunk. */
  reset(): void {
    const { socket } = this.response;
    if (socket === null) {
      return;
    }
    if (this.response.headersSent) {
      socket.write('100\r\ndata: {"id":"chatcmpl-');
    }
    setTimeout(() => socket.resetAndDestroy(), 5);
  }

  private head(status: number, headers: Record<string, string>): void {
    const { response } = this;
    response.setHeader('server', 'uvicorn');
    for (const [name, value] of Object.entries(headers)) {
      response.setHeader(name, value);
    }
    if (status !== 401 && !this.bare && !response.hasHeader('vary')) {
      response.setHeader('vary', 'Origin');
    }
    if (this.tellId && !this.bare) {
      response.setHeader('x-request-id', this.requestId);
    }
    if (response.shouldKeepAlive) {
      response.removeHeader('connection');
    } else {
      response.setHeader('connection', 'close');
    }
    response.writeHead(status);
  }

  private async sendPieces(bytes: Buffer): Promise<void> {
    const { pieceBytes, pieceMs } = this.delivery ?? { pieceBytes: bytes.length, pieceMs: 0 };
    for (let at = 0; at < bytes.length && !this.response.destroyed; at += pieceBytes) {
      this.response.write(bytes.subarray(at, at + pieceBytes));
      await new Promise((resolve) => (pieceMs > 0 ? setTimeout(resolve, pieceMs) : setImmediate(resolve)));
    }
  }
}
