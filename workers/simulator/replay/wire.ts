import { connect, type Socket } from 'node:net';

/** What a client saw of one answer, chunk by chunk. */
export interface Received {
  readonly status: number | null;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
  /** HTTP chunks; null when the answer was not chunked. */
  readonly chunks: readonly string[] | null;
  /** Whether the answer ended as its head promised. */
  readonly complete: boolean;
  readonly ended: string;
}

/** A connection on which the test says exactly what it wants. */
export class RawConnection {
  readonly socket: Socket;
  private readonly pieces: Buffer[] = [];
  private readonly openedMs = performance.now();
  ended: 'closed' | 'reset' | null = null;
  endedMs = 0;
  lastByteMs = 0;

  constructor(url: string) {
    const { hostname, port } = new URL(url);
    this.socket = connect({ host: hostname, port: Number(port), noDelay: true, allowHalfOpen: true });
    this.socket.on('data', (piece) => {
      this.lastByteMs = this.ms();
      this.pieces.push(piece);
    });
    this.socket.on('end', () => this.end('closed'));
    this.socket.on('error', () => this.end('reset'));
    this.socket.on('close', () => this.end('closed'));
  }

  get bytes(): Buffer {
    return Buffer.concat(this.pieces);
  }

  ms(): number {
    return performance.now() - this.openedMs;
  }

  /** Waits until the condition holds, or the time is over. */
  async until(condition: () => boolean, withinMs: number): Promise<void> {
    const limit = this.ms() + withinMs;
    while (!condition() && this.ms() < limit) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  close(): void {
    this.socket.destroy();
  }

  private end(how: 'closed' | 'reset'): void {
    if (this.ended === null) {
      this.ended = how;
      this.endedMs = this.ms();
    }
  }
}

/** One call on its own connection, given up by the client after `limitMs`. */
export async function call(
  url: string,
  {
    method,
    path,
    headers,
    body,
  }: { method: string; path: string; headers: Record<string, string>; body: Buffer | null },
  limitMs = 20_000,
): Promise<Received> {
  const connection = new RawConnection(url);
  const length: Record<string, string> = body === null ? {} : { 'Content-Length': String(body.length) };
  const head = Object.entries({ Host: 'localhost', Connection: 'close', ...length, ...headers });
  const lines = head.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  connection.socket.write(Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines}\r\n`, 'latin1'));
  if (body !== null) {
    connection.socket.write(body);
  }
  await connection.until(() => connection.ended !== null, limitMs);
  const ended = connection.ended ?? 'aborted by client';
  connection.close();
  return parseAnswer(connection.bytes, ended).received;
}

/** Reads one answer off the front of what came; `rest` is what follows it. */
export function parseAnswer(bytes: Buffer, ended: string): { received: Received; rest: Buffer } {
  const split = bytes.indexOf('\r\n\r\n');
  if (split < 0) {
    const nothing = { status: null, headers: new Map(), body: '', chunks: null, complete: false, ended };
    return { received: nothing, rest: Buffer.alloc(0) };
  }
  const [first = '', ...lines] = bytes.subarray(0, split).toString('latin1').split('\r\n');
  const headers = new Map(
    lines.map((line): [string, string] => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  const rest = bytes.subarray(split + 4);
  const status = Number(first.split(' ')[1]);
  if (headers.get('transfer-encoding') === 'chunked') {
    const { chunks, complete, after } = parseChunks(rest);
    return { received: { status, headers, body: '', chunks, complete, ended }, rest: after };
  }
  const length = status === 100 ? 0 : Number(headers.get('content-length') ?? rest.length);
  const body = rest.subarray(0, length).toString();
  const complete = rest.length >= length;
  return { received: { status, headers, body, chunks: null, complete, ended }, rest: rest.subarray(length) };
}

function parseChunks(bytes: Buffer): { chunks: string[]; complete: boolean; after: Buffer } {
  const chunks: string[] = [];
  let at = 0;
  for (;;) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd < 0) {
      return { chunks, complete: false, after: Buffer.alloc(0) };
    }
    const size = Number.parseInt(bytes.subarray(at, lineEnd).toString(), 16);
    const begin = lineEnd + 2;
    if (!(size > 0) || begin + size > bytes.length) {
      return { chunks, complete: size === 0, after: bytes.subarray(Math.min(begin + 2, bytes.length)) };
    }
    chunks.push(bytes.subarray(begin, begin + size).toString());
    at = begin + size + 2;
  }
}
