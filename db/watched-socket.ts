/**
 * Connections to Postgres that notice when nobody is at the other end any more. A network that swallows packets leaves a connection
 * which takes what is written and never answers, for a quarter of an hour, and ten of these are a whole pool.
 */
import { connect as dial, type Socket } from 'node:net';

/** What postgres.js knows of a server: its hosts and ports, or the path of its socket. */
export interface ServerAddress {
  readonly host: readonly string[];
  readonly port: readonly number[];
  readonly path?: string | undefined;
}

const LOOK_EVERY_MS = 100;

/**
 * Makes connections that are destroyed when what was written to them stays without an answer for so long. Of several hosts the next
 * one has its turn when one cannot be reached. They are handed over unconnected: postgres.js hears of all that becomes of them.
 */
export function watchedSockets(silenceMaxMs: number): (address: ServerAddress) => Socket {
  let turn = 0;
  return ({ host, port, path }) => {
    if (path) return watched(dial(path), silenceMaxMs);
    const index = turn % host.length;
    const name = host[index] ?? 'localhost';
    // By its host postgres.js tells TLS whom it expects.
    const socket = Object.assign(dial(port[index] ?? 5432, name), { host: name });
    socket.once('error', () => {
      if (socket.bytesRead === 0) turn = index + 1;
    });
    return watched(socket, silenceMaxMs);
  };
}

/**
 * By the bytes that have passed: what was written before an answer came is taken for answered. Under TLS no answer is heard as it comes,
 * so there a statement that leaves right behind one goes unnoticed until postgres.js sends another after it for want of a connection.
 */
function watched(socket: Socket, silenceMaxMs: number): Socket {
  let heard = { bytesRead: 0, bytesWritten: 0, atMs: performance.now() };
  const hear = () => {
    heard = { bytesRead: socket.bytesRead, bytesWritten: socket.bytesWritten, atMs: performance.now() };
  };
  const timer = setInterval(() => {
    const waits = socket.bytesRead === heard.bytesRead && socket.bytesWritten > heard.bytesWritten;
    if (socket.destroyed) clearInterval(timer);
    else if (!waits) hear();
    // Without an error: between that and the end postgres.js would send on it what it never hears of again.
    else if (performance.now() - heard.atMs > silenceMaxMs) socket.destroy();
  }, LOOK_EVERY_MS);
  timer.unref();
  return socket.on('data', hear);
}
