/** A TCP proxy that drops connections as it is told: what a client meets on a bad network. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** When a connection is cut: before its request is passed on, a moment later, when the answer comes, or not at all. No cut lets any of the answer through. */
export type Fate = 'unsent' | 'waiting' | 'answered' | 'spared';

interface DroppingProxy extends AsyncDisposable {
  readonly url: string;
  /** How many requests met each fate. */
  readonly met: Readonly<Record<Fate, number>>;
}

/** Starts a proxy before `target`; `fateOf` sees the first bytes of each request. */
export async function startDroppingProxy(
  target: string,
  fateOf: (request: string) => Fate,
  waitMs: number,
): Promise<DroppingProxy> {
  const { hostname, port } = new URL(target);
  const met = { unsent: 0, waiting: 0, answered: 0, spared: 0 };
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    let fate: Fate = 'spared';
    const drop = () => {
      client.resetAndDestroy();
      upstream.resetAndDestroy();
    };
    client.on('data', (bytes) => {
      const text = bytes.toString('latin1');
      if (text.startsWith('POST ')) {
        fate = fateOf(text);
        met[fate]++;
      }
      if (fate === 'unsent') return drop();
      upstream.write(bytes);
      if (fate === 'waiting') setTimeout(drop, waitMs);
    });
    upstream.on('data', (bytes) => {
      if (fate === 'answered') drop();
      else if (fate === 'spared') client.write(bytes);
    });
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(one);
      one.on('error', () => {});
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    met,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
