/** The socket on Node: plain calls for inference are read off it, others are taken from node:http as they are, everything else goes through Hono. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener, type HttpBindings } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import type { Context } from 'hono';
import { createApp, EXPOSED_HEADERS, type Transport } from './app.ts';
import { Callers } from './callers.ts';
import { inferencePaths, serveCall } from './completions.ts';
import type { Config } from './config.ts';
import { apiError, errorBody } from './errors.ts';
import { NodeExchange, repeatsAuthorization } from './exchange-node.ts';
import { PlainExchange } from './exchange-plain.ts';
import type { Gateway } from './platform.ts';
import type { RequestKind } from './request-fields.ts';
import { afterReads } from './turn.ts';
import { KEEP_ALIVE_MS } from './wire/answer-head.ts';

/** A gateway's socket. */
export interface GatewayServer {
  readonly url: string;
  /** Of callers whose requests are plain. */
  readonly connections: number;
  /** Lets nobody new in; resolves when the last connection is closed. */
  close(): Promise<void>;
  closeIdle(): void;
  closeAll(): void;
}

/** Answers on the configured address. */
export async function serveGateway(gateway: Gateway, config: Config): Promise<GatewayServer> {
  const server = createServer({
    headersTimeout: config.limits.headMs,
    requestTimeout: 0,
    keepAliveTimeout: KEEP_ALIVE_MS,
    connectionsCheckingInterval: 1_000,
  });
  const answer = getRequestListener(createApp(gateway, transportOf(config)).fetch);
  // Ahead of Hono, whose way to a handler and back cost such a call a fifth of its CPU.
  server.on('request', (request, response) => {
    // A caller who keeps its connection would keep asking here while the gateway drains.
    if (!gateway.accepting) response.shouldKeepAlive = false;
    const kind = request.method === 'POST' ? kindByPath.get(request.url ?? '') : undefined;
    if (repeatsAuthorization(request)) refuseTwoCredentials(response);
    else if (kind === undefined) afterReads(() => void answer(request, response));
    else afterReads(() => void serveCall(gateway, exchangeOf(request, response, config), kind));
  });
  const callers = new Callers(server, {
    firstByteMs: config.limits.headMs,
    keeps: () => gateway.accepting,
    serve: (request, connection) => {
      const kind = kindByPath.get(request.path);
      if (kind === undefined || request.bodyBytes > config.limits.bodyBytes) return null;
      const exchange = new PlainExchange(request, connection, config.limits);
      afterReads(() => void serveCall(gateway, exchange, kind));
      return exchange;
    },
  });
  const url = await listen(server, config);
  return {
    url,
    get connections() {
      return callers.size;
    },
    close: () => new Promise((resolve) => server.close(() => resolve())),
    closeIdle: () => callers.closeIdle(),
    closeAll: () => callers.closeAll(),
  };
}

const kindByPath = new Map(Object.entries(inferencePaths).map(([kind, path]) => [path as string, kind as RequestKind]));

/** Headers that Hono's middleware would set are set here, as it never sees these answers. */
function exchangeOf(request: IncomingMessage, response: ServerResponse, { corsOrigins, limits }: Config): NodeExchange {
  const { origin } = request.headers;
  if (origin !== undefined && corsOrigins.includes(origin)) {
    response.setHeader('access-control-allow-origin', origin);
    response.setHeader('access-control-expose-headers', EXPOSED_HEADERS);
    response.setHeader('vary', 'Origin');
  }
  return new NodeExchange(request, response, limits);
}

function transportOf(config: Config): Transport {
  return {
    serve: async (context: Context<{ Bindings: HttpBindings }>, run) => {
      await run(exchangeOf(context.env.incoming, context.env.outgoing, config));
      return RESPONSE_ALREADY_SENT;
    },
  };
}

function refuseTwoCredentials(response: ServerResponse): void {
  const error = apiError('invalid_request', 'Send one Authorization header, not several.');
  response.writeHead(error.status, { 'content-type': 'application/json' }).end(errorBody(error));
}

async function listen(server: Server, config: Config): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(config.port, config.host, () => resolve());
  });
  const { port } = server.address() as AddressInfo;
  const host = config.host.includes(':') ? `[${config.host}]` : config.host;
  return `http://${host}:${port}`;
}
