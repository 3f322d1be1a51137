/** The socket on Node: Hono behind node:http, calls for inference handed over raw. */
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener, type HttpBindings } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import type { Context } from 'hono';
import { createApp, type Transport } from './app.ts';
import type { Config } from './config.ts';
import { apiError, errorBody } from './errors.ts';
import { NodeExchange, repeatsAuthorization } from './exchange-node.ts';
import type { Gateway } from './platform.ts';

/** Answers on the configured address; resolves with the server and its URL. */
export async function serveGateway(gateway: Gateway, config: Config): Promise<{ server: Server; url: string }> {
  const server = createServer({
    headersTimeout: config.limits.headMs,
    requestTimeout: 0,
    keepAliveTimeout: 65_000,
    connectionsCheckingInterval: 1_000,
  });
  const answer = getRequestListener(createApp(gateway, transportOf(config)).fetch);
  // Ahead of Hono: a middleware in front of every route would cost each call for inference a chain of promises.
  server.on('request', (request, response) => {
    if (repeatsAuthorization(request)) refuseTwoCredentials(response);
    else void answer(request, response);
  });
  server.on('connection', (socket) => socket.setNoDelay(true));
  return { server, url: await listen(server, config) };
}

function transportOf(config: Config): Transport {
  return {
    serve: async (context: Context<{ Bindings: HttpBindings }>, run) => {
      await run(new NodeExchange(context.env.incoming, context.env.outgoing, config.limits));
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
