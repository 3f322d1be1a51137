/** One connection of the load generator: one call at a time, on a bare socket. */
import { Buffer } from 'node:buffer';
import { connect, type Socket } from 'node:net';
import { CONTENT_MARK, STREAM_END } from './answers.ts';
import { MessageReader, type MessageSink } from './http.ts';

export interface CallerOptions {
  readonly url: string;
  readonly key: string | null;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly stream: boolean;
  readonly receipts: boolean;
}

/** How one call went. */
export interface Outcome {
  /** When the call was due; of the clock below, as the others. */
  readonly dueMs: number;
  /** The first content of a stream, else the end. */
  readonly firstContentMs: number;
  readonly endMs: number;
  readonly bytes: number;
  readonly aborted: boolean;
  /** Null when all was as it should be. */
  readonly failure: string | null;
}

/** Milliseconds of one clock for all threads and processes of this machine. */
export function clockMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

const CALL_ID = /\r\nx-faregate-call: *(\S+)/i;
/** What a server writes whose answer is the connection's last, however it begins its headers. */
const LAST_ONE = 'onnection: close';
const TAIL_BYTES = STREAM_END.length;

export class Caller implements MessageSink {
  readonly #options: CallerOptions;
  readonly #request: Buffer;
  readonly #end: (outcome: Outcome) => void;
  #socket: Socket | null = null;
  #reader = new MessageReader(this);
  #dueMs = 0;
  #leaves = false;
  #asked: 'call' | 'receipt' | null = null;
  #status = '';
  /** The connection ends with this answer. */
  #isLast = false;
  #callId = '';
  #bytes = 0;
  #tail = '';
  #firstContentMs: number | null = null;

  constructor(options: CallerOptions, onEnd: (outcome: Outcome) => void) {
    this.#options = options;
    this.#end = onEnd;
    const body = Buffer.from(options.body);
    const head = `POST /v1/chat/completions HTTP/1.1\r\n${this.#headers()}content-type: application/json\r\n`;
    this.#request = Buffer.concat([Buffer.from(`${head}content-length: ${body.length}\r\n\r\n`), body]);
  }

  /** `leaves`: hang up at the first content. */
  call(dueMs: number, leaves: boolean): void {
    this.#dueMs = dueMs;
    this.#leaves = leaves;
    this.#bytes = 0;
    this.#tail = '';
    this.#firstContentMs = null;
    this.#ask('call', this.#request);
  }

  close(): void {
    this.#asked = null;
    this.#socket?.destroy();
    this.#socket = null;
  }

  onHead(head: string): void {
    this.#status = head.slice(9, 12);
    this.#isLast = head.includes(LAST_ONE);
    if (this.#asked === 'call' && this.#options.receipts) this.#callId = CALL_ID.exec(head)?.[1] ?? '';
  }

  onBody(bytes: Buffer): void {
    this.#bytes += bytes.length;
    if (!this.#options.stream || this.#asked === 'receipt') return;
    this.#tail = (this.#tail + bytes.toString('latin1', Math.max(0, bytes.length - TAIL_BYTES))).slice(-TAIL_BYTES);
    if (this.#firstContentMs !== null || !bytes.includes(CONTENT_MARK)) return;
    this.#firstContentMs = clockMs();
    if (this.#leaves) this.#leave();
  }

  onEnd(): void {
    if (this.#isLast) this.#socket = null;
    const good = this.#status === '200' && (!this.#options.stream || this.#tail === STREAM_END);
    if (!good) this.#finish(`HTTP ${this.#status}, ends with ${JSON.stringify(this.#tail)}`);
    else if (this.#asked === 'call' && this.#options.receipts) this.#ask('receipt', this.#receiptRequest());
    else this.#finish(null);
  }

  #headers(): string {
    const { url, key, headers } = this.#options;
    const all = { host: new URL(url).host, ...(key === null ? {} : { authorization: `Bearer ${key}` }), ...headers };
    return Object.entries(all)
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join('');
  }

  #receiptRequest(): Buffer {
    return Buffer.from(`GET /v1/calls/${this.#callId}/receipt HTTP/1.1\r\n${this.#headers()}\r\n`);
  }

  #ask(what: 'call' | 'receipt', request: Buffer): void {
    this.#asked = what;
    this.#socket ??= this.#connect();
    this.#socket.write(request);
  }

  #connect(): Socket {
    const { hostname, port } = new URL(this.#options.url);
    const socket = connect(Number(port), hostname);
    this.#reader = new MessageReader(this);
    socket.setNoDelay(true);
    socket.on('data', (read: Buffer) => {
      if (socket === this.#socket) this.#reader.push(read);
    });
    socket.on('close', () => this.#lost(socket, 'the connection was closed'));
    socket.on('error', (error) => this.#lost(socket, error.message));
    return socket;
  }

  #lost(socket: Socket, why: string): void {
    if (socket !== this.#socket) return;
    this.#socket = null;
    if (this.#asked !== null) this.#finish(why);
  }

  #leave(): void {
    const socket = this.#socket;
    this.#socket = null;
    this.#reader.stop();
    socket?.destroy();
    this.#finish(null, true);
  }

  #finish(failure: string | null, aborted = false): void {
    const endMs = clockMs();
    this.#asked = null;
    const firstContentMs = this.#firstContentMs ?? endMs;
    this.#end({ dueMs: this.#dueMs, firstContentMs, endMs, bytes: this.#bytes, aborted, failure });
  }
}
