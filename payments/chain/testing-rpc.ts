/** A way to a node that loses answers on demand: what was asked has happened then, and nobody was told. For tests. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface FaultyRpc {
  readonly url: string;
  /** The method whose next answers are lost, and how many of them. */
  lose(method: string, answers?: number): void;
  /** How many answers were lost so far. */
  readonly lost: number;
  /** No connection is taken while it is away. */
  away: boolean;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Passes JSON-RPC on to a node. */
export async function startFaultyRpc(nodeUrl: string): Promise<FaultyRpc> {
  const losing = new Map<string, number>();
  const state = { lost: 0, away: false };
  const pass = async (request: IncomingMessage, response: ServerResponse) => {
    if (state.away) return void request.socket.destroy();
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const answer = await fetch(nodeUrl, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
    const text = await answer.text();
    for (const [method, left] of losing) {
      if (left === 0 || !body.includes(`"${method}"`)) continue;
      losing.set(method, left - 1);
      state.lost += 1;
      return void request.socket.destroy();
    }
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(text);
  };
  const server = createServer((request, response) => {
    pass(request, response).catch(() => request.socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    lose: (method, answers = 1) => void losing.set(method, answers),
    get lost() {
      return state.lost;
    },
    get away() {
      return state.away;
    },
    set away(away: boolean) {
      state.away = away;
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
}
