import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { answerControl, isControlPath } from './control.ts';
import { Exchange } from './exchange.ts';
import { engineDead, Failure } from './failure.ts';
import type { FaultControl } from './faults.ts';
import { Machine } from './machine.ts';
import { type Settings, type SimulatorOptions, settle } from './options.ts';
import { randomHex } from './random.ts';
import { route } from './routes.ts';
import { ServerFaults } from './server-faults.ts';
import { loadTokenizer } from './tokenizer.ts';

export type { SimulatorOptions } from './options.ts';

/** A running simulated vLLM server. */
export interface Simulator {
  readonly url: string;
  readonly pid: number;
  readonly faults: FaultControl;
  /** Resolves when the last client has hung up; idle connections are closed at once. */
  drained(): Promise<void>;
  /** Stops listening and drops every connection. */
  close(): Promise<void>;
}

/** Starts a server that behaves as vLLM 0.32.0 does. Rejects when the address is taken or the options contradict. */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const settings = settle(options);
  const machine = new Machine(settings, await loadTokenizer());
  const sockets = new Set<Socket>();
  const server = makeServer(settings);
  const faults = new ServerFaults(machine, server, sockets);
  server.on('request', (request, response) => void answer(machine, faults, request, response));
  server.on('connection', (socket) => watchConnection(socket, sockets));
  server.on('clientError', (_error, socket) => refuseGarbage(socket));
  await listen(server, settings);
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${settings.host}:${port}`,
    pid: process.pid,
    faults,
    drained: () => stopListening(server),
    close: () => close(server, sockets, machine),
  };
}

/** Sockets as uvicorn keeps them: idle ones for 5 s, half a request for ever, heads of any size. */
function makeServer({ idleConnectionMs }: Settings): Server {
  const server = createServer({
    keepAliveTimeout: idleConnectionMs,
    keepAliveTimeoutBuffer: 0,
    headersTimeout: 0,
    requestTimeout: 0,
    maxHeaderSize: 16 * 1024 * 1024,
    requireHostHeader: false,
    noDelay: true,
  });
  server.maxHeadersCount = 0;
  return server;
}

function listen(server: Server, { host, port }: Settings): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

async function answer(
  machine: Machine,
  faults: ServerFaults,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { requestIdHeaders, rttMs } = machine.settings;
  const given = request.headers['x-request-id'];
  const requestId = typeof given === 'string' ? given : randomHex(machine.random, 32);
  const exchange = new Exchange(request, response, requestId, requestIdHeaders);
  try {
    if (rttMs > 0) {
      await new Promise((resolve) => setTimeout(resolve, rttMs));
    }
    await (isControlPath(exchange.path) ? answerControl(faults, exchange) : route(machine, exchange));
  } catch (error) {
    if (!request.destroyed || request.complete) {
      exchange.fail(error instanceof Failure ? error : engineDead());
    }
    if (!(error instanceof Failure) && request.complete) {
      process.stderr.write(`simulator: ${error instanceof Error ? error.stack : String(error)}\n`);
    }
  }
}

/** A client that half-closes has hung up. */
function watchConnection(socket: Socket, sockets: Set<Socket>): void {
  sockets.add(socket);
  socket.on('close', () => sockets.delete(socket));
  socket.on('end', () => socket.destroy());
  socket.on('error', () => socket.destroy());
}

function refuseGarbage(socket: NodeJS.WritableStream & { destroyed?: boolean }): void {
  const text = 'Invalid HTTP request received.';
  if (socket.destroyed !== true) {
    socket.end(
      `HTTP/1.1 400 Bad Request\r\ndate: ${new Date().toUTCString()}\r\nserver: uvicorn\r\n` +
        `content-type: text/plain; charset=utf-8\r\ncontent-length: ${text.length}\r\nconnection: close\r\n\r\n${text}`,
    );
  }
}

function close(server: Server, sockets: Set<Socket>, machine: Machine): Promise<void> {
  machine.engine.freeze();
  for (const socket of sockets) {
    socket.destroy();
  }
  return stopListening(server);
}

function stopListening(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
  });
}
