/** Calls through the outbound port for tests, and servers for them; each ends with its test. */
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import { type OutboundCall, type OutboundRequest, type OutboundSink, targetOf } from '../router/outbound.ts';
import { createOutbound, type NodeOutbound } from './outbound-node.ts';

/** What a sink heard, in order. */
export class Heard implements OutboundSink {
  readonly log: string[] = [];
  text = '';
  error: Error | null = null;
  readonly over: Promise<void>;
  #end: () => void = () => {};
  onFirstData: () => void = () => {};

  constructor() {
    this.over = new Promise((resolve) => {
      this.#end = resolve;
    });
  }
  onSent(): void {
    this.log.push('sent');
  }
  onHead(status: number): void {
    this.log.push(`head ${status}`);
  }
  onData(chunk: Uint8Array): void {
    if (this.text === '') this.log.push('data');
    this.text += Buffer.from(chunk).toString();
    this.onFirstData();
  }
  onEnd(): void {
    this.log.push('end');
    this.#end();
  }
  onError(error: Error): void {
    this.log.push('error');
    this.error = error;
    this.#end();
  }
}

export function outboundFor(allowPrivate = true): NodeOutbound {
  const created = createOutbound({ allowPrivate, connectMs: 2000 });
  onTestFinished(() => created.close());
  return created;
}

export async function serve(listener: RequestListener): Promise<{ server: Server; url: string; sockets: Socket[] }> {
  const server = createServer({ keepAliveTimeout: 60_000 }, listener);
  const sockets: Socket[] = [];
  server.on('connection', (socket) => sockets.push(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    server.closeAllConnections();
    server.close();
  });
  return { server, sockets, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

export function send(
  created: NodeOutbound,
  url: string,
  sink: OutboundSink,
  more: Partial<OutboundRequest> = {},
): OutboundCall {
  return created.outbound({ target: targetOf(url), method: 'GET', headers: {}, connectMs: 2000, ...more }, sink);
}

/** What one call heard, until its end. */
export async function hear(created: NodeOutbound, url: string, more: Partial<OutboundRequest> = {}): Promise<Heard> {
  const heard = new Heard();
  send(created, url, heard, more);
  await heard.over;
  return heard;
}

/** A server below HTTP. */
export async function serveTcp(listener: (socket: Socket) => void): Promise<string> {
  const server = createTcpServer((socket) => {
    socket.on('error', () => {});
    listener(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
