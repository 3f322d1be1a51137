/** What anybody may ask: is it alive, is it ready, what does it measure, how is it used, which keys sign its receipts. */
import type { Context, Hono } from 'hono';
import { z } from 'zod';
import { didDocument, didOf, jwks } from '../payments/receipt.ts';
import { withDeadline } from '../payments/retry.ts';
import { adminRouteList } from './admin-routes.ts';
import { agentRouteList } from './agent-routes.ts';
import { apiError } from './errors.ts';
import { inferenceDescriptions } from './inference-descriptions.ts';
import { llmsText } from './llms.ts';
import type { Readings } from './metrics.ts';
import { openApiDocument } from './openapi.ts';
import { operatorRouteList } from './operator-routes.ts';
import type { Gateway } from './platform.ts';
import { recent } from './recent.ts';
import { mount, publicUrl, type Route } from './route.ts';

const DATABASE_WAIT_MS = 2_000;
const READY_FOR_MS = 1_000;
const KEYS_FOR_MS = 10_000;

const status = z.strictObject({ status: z.string() });

const health: Route = {
  method: 'get',
  path: '/healthz',
  summary: 'The process answers. Nothing else is asked.',
  security: null,
  response: status,
  example: { response: { status: 'ok' } },
  serve: (_gateway, context) => context.json({ status: 'ok' }),
};

/** Not ready from the moment a drain begins, and while no call could be charged. */
function readiness(gateway: Gateway): Route {
  const { sql } = gateway.platform.database;
  const database = recent(READY_FOR_MS, gateway.platform.now, () => withDeadline(sql`select 1`, DATABASE_WAIT_MS));
  return {
    method: 'get',
    path: '/readyz',
    summary: 'New calls are welcome: 200. While the gateway drains or no call could be charged: 503.',
    security: null,
    response: status,
    example: { response: { status: 'ready' } },
    serve: async (_gateway, context) => {
      if (!gateway.accepting) throw apiError('overloaded', 'This gateway is shutting down.', { retryAfterMs: 1_000 });
      const away = apiError('ledger_unavailable', 'The ledger is away.', { retryAfterMs: 1_000 });
      if (!gateway.ledger.healthy()) throw away;
      await database().catch(() => {
        throw away;
      });
      return context.json({ status: 'ready' });
    },
  };
}

const metrics: Route = {
  method: 'get',
  path: '/metrics',
  summary: 'Metrics for Prometheus, with the names of OpenTelemetry for GenAI.',
  security: null,
  response: z.string(),
  contentType: 'text/plain',
  example: { response: 'faregate_holds_open 3\n' },
  serve: (gateway, context) =>
    context.body(gateway.metrics.render(readings(gateway)), 200, { 'content-type': gateway.metrics.contentType }),
};

const llms: Route = {
  method: 'get',
  path: '/llms.txt',
  summary: 'How an agent uses this gateway, in one page.',
  security: null,
  response: z.string(),
  contentType: 'text/plain',
  example: { response: '# Faregate\n' },
  serve: (gateway, context) => context.text(llmsText(publicUrl(gateway, context), gateway.prices.all())),
};

function signingKeys(gateway: Gateway): Route {
  const keys = recent(KEYS_FOR_MS, gateway.platform.now, () => jwks(gateway.platform.database.sql));
  return {
    method: 'get',
    path: '/.well-known/jwks.json',
    summary: 'The public keys that verify receipts, those of the past too.',
    security: null,
    response: z.strictObject({ keys: z.array(z.looseObject({ kty: z.string(), kid: z.string() })) }),
    example: {
      response: {
        keys: [
          {
            kty: 'OKP',
            crv: 'Ed25519',
            x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo',
            kid: 'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k',
            alg: 'EdDSA',
            use: 'sig',
          },
        ],
      },
    },
    serve: async (_gateway, context) =>
      context.json(await keys(), 200, { 'cache-control': `public, max-age=${KEYS_FOR_MS / 1_000}` }),
  };
}

function didRoute(gateway: Gateway): Route {
  const keys = recent(KEYS_FOR_MS, gateway.platform.now, () => jwks(gateway.platform.database.sql));
  const did = 'did:web:gate.example.com';
  return {
    method: 'get',
    path: '/.well-known/did.json',
    summary: 'The same keys as a DID document: they verify the x402 receipts in `PAYMENT-RESPONSE`.',
    security: null,
    response: z.strictObject({
      id: z.string(),
      verificationMethod: z.array(z.looseObject({ id: z.string() })),
      assertionMethod: z.array(z.string()),
    }),
    example: { response: { id: did, verificationMethod: [{ id: `${did}#kPrK` }], assertionMethod: [`${did}#kPrK`] } },
    serve: async (_gateway, context) =>
      context.json(didDocument(didOf(publicUrl(gateway, context)), (await keys()).keys), 200, {
        'cache-control': `public, max-age=${KEYS_FOR_MS / 1_000}`,
      }),
  };
}

function openApi(routes: () => readonly Route[]): Route {
  let document: object | null = null;
  return {
    method: 'get',
    path: '/openapi.json',
    summary: 'This description.',
    security: null,
    response: z.looseObject({ openapi: z.string(), paths: z.looseObject({}) }),
    example: { response: { openapi: '3.1.0', paths: {} } },
    serve: (_gateway: Gateway, context: Context) => {
      document ??= openApiDocument([
        ...inferenceDescriptions,
        ...agentRouteList,
        ...operatorRouteList,
        ...adminRouteList,
        ...routes(),
      ]);
      return context.json(document);
    },
  };
}

export function healthRoutes(gateway: Gateway): Hono {
  const routes: readonly Route[] = [
    health,
    readiness(gateway),
    metrics,
    llms,
    openApi(() => routes),
    signingKeys(gateway),
    didRoute(gateway),
  ];
  return mount(gateway, routes);
}

function readings(gateway: Gateway): Readings {
  const { fleet } = gateway.router;
  const workersByState = new Map<string, number>();
  for (const worker of fleet.all()) {
    const state = worker.state(fleet.now());
    workersByState.set(state, (workersByState.get(state) ?? 0) + 1);
  }
  const held = [...gateway.openCalls].map(({ heldNanousd }) => heldNanousd);
  return {
    holdsOpen: held.length,
    heldNanousd: held.reduce((sum, nanousd) => sum + nanousd, 0n),
    workersByState,
    settlePending: gateway.ledger.settler.waiting,
    replayBytes: gateway.replays.bytes,
    ledgerHealthy: gateway.ledger.healthy(),
  };
}
