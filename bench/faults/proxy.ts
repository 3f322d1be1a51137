/** A TCP proxy between one gateway and Postgres that does to money statements what bad networks do, at the worst moment. */

import type { AddressInfo } from 'node:net';
import { createServer, connect as dial, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Messages, type MoneyStatement, READY, Statements } from './wire.ts';

/** What befalls one statement, and the connection that it came on. */
export type NetworkFault =
  | 'cut before' // the statement never arrives
  | 'cut after' // it is committed, and its answer is lost
  | 'reset' // it is on its way when the connection is reset
  | 'stall' // it arrives after a while longer than anybody waits
  | 'half-open' // it arrives, and nothing ever comes back, not even an end
  | 'slow' // 1 kB/s
  | 'kill before' // the gateway is killed as the statement leaves; it arrives
  | 'kill after' // the gateway is killed when the statement is committed
  | 'disk full'; // the server answers that it has no space left

const STALL_MS = 11_000;
const SLOW_BYTES_PER_MS = 1;
const SQLSTATE_DISK_FULL = '53100';

/** Asked at each money statement; null lets it pass. */
type Tamper = (statement: MoneyStatement) => NetworkFault | null;

export interface FaultProxy {
  readonly url: string;
  tamper: Tamper;
  /** How often each fault struck. */
  readonly struck: Map<NetworkFault, number>;
  close(): void;
}

/** `target` is the database behind the proxy; `kill` ends the gateway in front of it, at once. */
export async function startProxy(target: string, kill: () => void): Promise<FaultProxy> {
  const upstream = new URL(target);
  const links = new Set<Link>();
  const struck = new Map<NetworkFault, number>();
  const server: Server = createServer((client) => {
    const link = new Link(client, dial(Number(upstream.port), upstream.hostname), {
      tamper: (statement) => {
        const fault = proxy.tamper(statement);
        if (fault !== null) struck.set(fault, (struck.get(fault) ?? 0) + 1);
        return fault;
      },
      kill,
      ended: () => links.delete(link),
    });
    links.add(link);
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as AddressInfo;
  const proxy: FaultProxy = {
    url: Object.assign(new URL(target), { port: String(port) }).href,
    tamper: () => null,
    struck,
    close: () => {
      server.close();
      for (const link of links) link.cut();
    },
  };
  return proxy;
}

interface LinkOptions {
  readonly tamper: Tamper;
  readonly kill: () => void;
  readonly ended: () => void;
}

/** One connection of the gateway to the database. */
class Link {
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #options: LinkOptions;
  readonly #statements = new Statements();
  readonly #fromClient = new Messages('client');
  readonly #fromServer = new Messages('server');
  /** What to do at the next ReadyForQuery, instead of passing the answer on. */
  #atReady: (() => void) | null = null;
  #deaf = false;
  #bytesPerMs = Number.POSITIVE_INFINITY;
  #sending: Promise<void> = Promise.resolve();

  constructor(client: Socket, server: Socket, options: LinkOptions) {
    this.#client = client;
    this.#server = server;
    this.#options = options;
    client.setNoDelay(true);
    server.setNoDelay(true);
    client.on('data', (bytes) => {
      for (const message of this.#fromClient.push(bytes)) this.#ask(message);
    });
    server.on('data', (bytes) => this.#answer(bytes));
    for (const socket of [client, server]) {
      socket.on('error', () => this.cut());
      socket.on('close', () => this.#closed(socket));
    }
  }

  cut(): void {
    this.#client.destroy();
    this.#server.destroy();
    this.#options.ended();
  }

  /** The end of one side ends the other, unless the client is to believe that the connection lives. */
  #closed(socket: Socket): void {
    if (this.#deaf && socket === this.#server) return;
    this.#server.end();
    this.#client.destroy();
    this.#options.ended();
  }

  #ask(message: Buffer): void {
    const statement = this.#statements.executedBy(message);
    const fault = statement === null ? null : this.#options.tamper(statement);
    if (fault !== null) this.#strike(fault);
    if (fault !== 'cut before' && fault !== 'disk full') this.#send(message);
  }

  /** Prepares what the statement will meet on its way. */
  #strike(fault: NetworkFault): void {
    if (fault === 'cut before') this.cut();
    if (fault === 'disk full') this.#refuse();
    if (fault === 'reset') this.#client.resetAndDestroy();
    if (fault === 'cut after') this.#atReady = () => this.cut();
    if (fault === 'kill after') this.#atReady = this.#options.kill;
    if (fault === 'kill before') this.#options.kill();
    if (fault === 'stall') this.#sending = this.#sending.then(() => sleep(STALL_MS));
    if (fault === 'half-open') this.#deaf = true;
    if (fault === 'slow') this.#bytesPerMs = SLOW_BYTES_PER_MS;
  }

  #refuse(): void {
    this.#client.end(diskFull());
    this.#server.destroy();
  }

  /** Messages keep their order, also behind a stalled or slow one. */
  #send(message: Buffer): void {
    this.#sending = this.#sending.then(async () => {
      const delayMs = message.length / this.#bytesPerMs;
      if (delayMs >= 1) await sleep(delayMs);
      if (!this.#server.destroyed) this.#server.write(message);
    });
  }

  #answer(bytes: Buffer): void {
    const messages = this.#fromServer.push(bytes);
    if (this.#atReady !== null) {
      if (messages.some((message) => message[0] === READY)) this.#atReady();
      return;
    }
    if (!this.#deaf && !this.#client.destroyed) this.#client.write(bytes);
  }
}

/** The server's own words for it (ErrorResponse); the connection is gone with it, as after a FATAL. */
function diskFull(): Buffer {
  const fields = `SFATAL\0VFATAL\0C${SQLSTATE_DISK_FULL}\0Mcould not extend file: No space left on device\0\0`;
  const message = Buffer.alloc(5 + Buffer.byteLength(fields));
  message.write('E', 0);
  message.writeInt32BE(message.length - 1, 1);
  message.write(fields, 5);
  return message;
}
