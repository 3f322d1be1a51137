/** The connections of a server's callers: plain calls for inference are read off them here, all else is Node's own affair. */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { CallerConnection, type CallerHost } from './wire/caller-connection.ts';

const SWEEP_MS = 1_000;

export class Callers {
  readonly #connections = new Set<CallerConnection>();
  readonly #server: Server;

  /** Stands between the server's socket and its parser. */
  constructor(server: Server, host: Pick<CallerHost, 'firstByteMs' | 'keeps' | 'serve'>) {
    this.#server = server;
    const [parse] = server.listeners('connection') as ((socket: Socket) => void)[];
    server.removeAllListeners('connection');
    server.on('connection', (socket: Socket) => {
      const connection: CallerConnection = new CallerConnection(socket, {
        ...host,
        handOver: (bytes) => {
          // Read again from the beginning, before anything else that comes.
          socket.pause();
          socket.unshift(bytes);
          parse?.call(server, socket);
          socket.resume();
        },
        gone: () => this.#connections.delete(connection),
      });
      this.#connections.add(connection);
    });
    const sweep = setInterval(() => this.#closeIdle(false), SWEEP_MS);
    sweep.unref();
    server.on('close', () => clearInterval(sweep));
  }

  get size(): number {
    return this.#connections.size;
  }

  /** Ends those that have no call. */
  closeIdle(): void {
    this.#server.closeIdleConnections();
    this.#closeIdle(true);
  }

  /** Ends all, in the middle of their answers. */
  closeAll(): void {
    this.#server.closeAllConnections();
    for (const connection of this.#connections) connection.close();
  }

  #closeIdle(atOnce: boolean): void {
    for (const connection of this.#connections) connection.closeIdle(atOnce);
  }
}
