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
 * Counts bytes instead of listening: under TLS the data goes by without an event here. A statement that leaves right behind an answer is
 * taken for answered; those that postgres.js sends after it, for want of another connection, are not.
 */
function watched(socket: Socket, silenceMaxMs: number): Socket {
  let heard = { bytesRead: 0, bytesWritten: 0, atMs: performance.now() };
  const timer = setInterval(() => {
    const { bytesRead, bytesWritten } = socket;
    const nowMs = performance.now();
    const waits = bytesRead === heard.bytesRead && bytesWritten > heard.bytesWritten;
    if (!waits) heard = { bytesRead, bytesWritten, atMs: nowMs };
    // Without an error: between that and the end postgres.js would send on it what it never hears of again.
    else if (nowMs - heard.atMs > silenceMaxMs) socket.destroy();
  }, LOOK_EVERY_MS);
  timer.unref();
  socket.once('close', () => clearInterval(timer));
  return socket;
}
