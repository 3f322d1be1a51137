/**
 * The floor: the least that Node can do between a caller and a worker, with node:http and undici's dispatch and no feature at
 * all but that a caller who leaves ends the call. Every figure of the gateway is compared with it. Usage: floor.ts <worker url>
 */
import { Buffer } from 'node:buffer';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { Agent, type Dispatcher } from 'undici';
import { announce } from './child.ts';

const origin = process.argv[2] ?? '';
const agent = new Agent({ pipelining: 1, headersTimeout: 0, bodyTimeout: 0 });

class PassOn implements Dispatcher.DispatchHandler {
  readonly #response: ServerResponse;

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#response.once('close', () => {
      if (!this.#response.writableFinished) controller.abort(new Error('the caller left'));
    });
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: Record<string, string | string[]>): void {
    delete headers['transfer-encoding'];
    this.#response.writeHead(status, headers);
  }

  onResponseData(_: Dispatcher.DispatchController, bytes: Buffer): void {
    this.#response.write(bytes);
  }

  onResponseEnd(): void {
    this.#response.end();
  }

  onResponseError(): void {
    this.#response.destroy();
  }
}

function pass(request: IncomingMessage, response: ServerResponse): void {
  const parts: Buffer[] = [];
  request.on('data', (part: Buffer) => parts.push(part));
  request.on('end', () => {
    const headers = { 'content-type': 'application/json' };
    const body = Buffer.concat(parts);
    agent.dispatch({ origin, path: request.url ?? '/', method: 'POST', headers, body }, new PassOn(response));
  });
}

const server = createServer({ keepAliveTimeout: 65_000 }, pass);
server.on('connection', (socket) => socket.setNoDelay(true));
server.listen(0, '127.0.0.1', () => announce(server));
