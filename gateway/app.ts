/** The route table and the order of middleware: the map of the system. */
import { type Context, Hono } from 'hono';
import { cors } from 'hono/cors';
import { adminRoutes } from './admin-routes.ts';
import { agentRoutes } from './agent-routes.ts';
import { inferencePaths, serveCall } from './completions.ts';
import { type ApiError, apiError, errorResponse } from './errors.ts';
import type { Exchange } from './exchange.ts';
import { healthRoutes } from './health-routes.ts';
import { operatorRoutes } from './operator-routes.ts';
import type { Gateway } from './platform.ts';
import { asApiError } from './unexpected.ts';

/** How a runtime hands over one call: Node its raw request and response, Workers a Request and a stream. */
export interface Transport {
  serve(context: Context, run: (exchange: Exchange) => Promise<void>): Response | Promise<Response>;
}

/** Of an answer, what scripts of an allowed origin may read: all, as nothing here depends on cookies. */
export const EXPOSED_HEADERS = '*';

export function createApp(gateway: Gateway, transport: Transport): Hono {
  const app = new Hono();
  const origins = gateway.platform.config.corsOrigins;
  if (origins.length > 0) app.use(cors({ origin: [...origins], exposeHeaders: [EXPOSED_HEADERS] }));

  for (const kind of ['chat', 'completion', 'embedding'] as const) {
    app.post(inferencePaths[kind], (context) =>
      transport.serve(context, (exchange) => serveCall(gateway, exchange, kind)),
    );
  }
  app.route('/', agentRoutes(gateway));
  app.route('/', operatorRoutes(gateway));
  app.route('/', adminRoutes(gateway));
  app.route('/', healthRoutes(gateway));

  app.notFound((context) => errorResponse(missing(app, context)));
  app.onError((error) => errorResponse(asApiError(gateway, error)));
  return app;
}

/** 405 where the path exists for another method, otherwise 404. */
function missing(app: Hono, context: Context): ApiError {
  const allowed = app.routes
    .filter((route) => route.method !== 'ALL' && pathPattern(route.path).test(context.req.path))
    .map((route) => route.method);
  if (allowed.length === 0) {
    return apiError('not_found', `There is no ${context.req.path} here; /openapi.json lists what there is.`);
  }
  const methods = [...new Set(allowed)].join(', ');
  return apiError('method_not_allowed', `${context.req.path} takes ${methods}.`, { headers: { allow: methods } });
}

function pathPattern(path: string): RegExp {
  const pattern = path.replace(/:\w+\{\.\+\}|:\w+|\./g, (part) => {
    if (part === '.') return '\\.';
    return part.endsWith('{.+}') ? '.+' : '[^/]+';
  });
  return new RegExp(`^${pattern}$`);
}
