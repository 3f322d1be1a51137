/**
 * The Workers entry, thin for now: inference calls, payments and top-ups, one ledger instance per request, acknowledged by the database.
 * A database connection belongs to the request that opened it there, so what stands upon it is built per request too.
 */
import { randomBytes } from 'node:crypto';
import { type Context, Hono } from 'hono';
import { connect } from '../db/connect.ts';
import { openInstance } from '../payments/instance.ts';
import { OpenList } from '../payments/open-list.ts';
import { PriceList } from '../payments/prices.ts';
import { Fleet } from '../router/fleet.ts';
import { Registry } from '../router/registry.ts';
import { RetryBudget } from '../router/retry-budget.ts';
import { Keyring } from './auth.ts';
import { cacheSalts } from './cache-salt.ts';
import { channelRouteList } from './channel-routes.ts';
import { ChoiceMemory } from './choice-memory.ts';
import { inferencePaths, serveCall } from './completions.ts';
import { type Config, readConfig } from './config.ts';
import { errorResponse } from './errors.ts';
import { FetchExchange } from './exchange-fetch.ts';
import { ExpectedOutput } from './expected-output.ts';
import type { Metrics } from './metrics.ts';
import { OperatorShares } from './operator-shares.ts';
import { fetchOutbound } from './outbound-fetch.ts';
import type { Gateway, Log, Platform } from './platform.ts';
import { RateLimiter } from './ratelimit.ts';
import { Replays } from './replays.ts';
import { loadSecrets } from './secrets.ts';
import { asApiError } from './unexpected.ts';
import { PromptRatios } from './usage.ts';
import { walletRouteList } from './wallet-routes.ts';
import { openWallets, type Wallets } from './wallets.ts';

/** What wrangler.toml binds; what is empty there is not set. */
interface Bindings extends Partial<Record<(typeof VARIABLES)[number], string>> {
  readonly HYPERDRIVE: { readonly connectionString: string };
}

type AppContext = Context<{ Bindings: Bindings }>;

const VARIABLES = [
  'FAREGATE_REGION',
  'FAREGATE_LOG',
  'FAREGATE_URL',
  'FAREGATE_NETWORK',
  'FAREGATE_RPC_URL',
  'FAREGATE_PAY_TO',
  'FAREGATE_LEAST_PAYMENT_NANOUSD',
  'FAREGATE_DEPOSIT_CONFIRMATIONS',
  'FAREGATE_CHANNEL_AUTHORIZER',
  'FAREGATE_CHANNEL_DEPOSIT_NANOUSD',
  'FAREGATE_UPTO_MOVER',
  'FAREGATE_UPTO_CAP_NANOUSD',
] as const;

/** Cloudflare's advice for Hyperdrive. */
const CONNECTIONS_PER_REQUEST = 5;

const app = new Hono<{ Bindings: Bindings }>();
app.get('/healthz', (context) => context.json({ status: 'ok' }));
for (const kind of ['chat', 'completion', 'embedding'] as const) {
  app.post(inferencePaths[kind], (context) => {
    const config = edgeConfig(context.env);
    const exchange = new FetchExchange(context.req.raw, config.limits);
    const work = serveOne(config, context, (gateway) => serveCall(gateway, exchange, kind));
    context.executionCtx.waitUntil(work);
    return Promise.race([exchange.response, work.then(() => exchange.response)]);
  });
}
for (const route of [...walletRouteList, ...channelRouteList]) {
  app.on(route.method.toUpperCase(), route.path, (context) =>
    serveOne(edgeConfig(context.env), context, async (gateway) => {
      try {
        return await route.serve(gateway, context);
      } catch (error) {
        return errorResponse(asApiError(gateway, error));
      }
    }),
  );
}

export default app;

function edgeConfig(env: Bindings): Config {
  const variables = Object.fromEntries(VARIABLES.map((name) => [name, env[name]]));
  return readConfig({ ...variables, FAREGATE_ACK: 'database', FAREGATE_KEYLESS: '1' });
}

/** Builds a gateway, lets it work, and returns what it leased. */
async function serveOne<Answer>(
  config: Config,
  { env, executionCtx }: AppContext,
  work: (gateway: Gateway) => Promise<Answer>,
): Promise<Answer> {
  const database = connect(env.HYPERDRIVE.connectionString, { max: CONNECTIONS_PER_REQUEST });
  const now = () => performance.now();
  const platform: Platform = {
    config,
    database,
    log: consoleLog,
    now,
    random: Math.random,
    randomBytes,
    waitUntil: (background) => executionCtx.waitUntil(background),
  };
  const { sql } = database;
  const ledger = await openInstance({ sql, directory: null, ack: 'database', log: consoleLog, now, lasting: false });
  let payments: Wallets | null = null;
  try {
    const secrets = await loadSecrets(sql);
    const prices = new PriceList();
    await prices.load(sql);
    const fleet = new Fleet({ now, random: Math.random });
    for (const worker of await new Registry(sql).list()) fleet.upsert(worker);
    const keyring = new Keyring({ sql, pepper: secrets.pepper, adminKey: '', limits: config.limits, now });
    payments = await openWallets(platform, keyring, secrets.challenge, loadPayments);
    return await work({
      platform,
      keyring,
      prices,
      ledger,
      payments,
      router: { fleet, outbound: fetchOutbound, retries: new RetryBudget(), hedges: null, log: consoleLog },
      registry: new Registry(sql),
      rateLimiter: new RateLimiter(now),
      // What is built per request has nothing to replay.
      replays: new Replays({ ...config.limits, replayBytes: 0 }, now),
      metrics: noMetrics,
      promptRatios: new PromptRatios(),
      expectedOutput: new ExpectedOutput(),
      choices: new ChoiceMemory(),
      operatorShares: new OperatorShares(sql),
      openCalls: new OpenList(),
      accepting: true,
      serving: true,
      cacheSalt: cacheSalts(secrets.cacheSalt),
    });
  } finally {
    await payments?.close();
    await ledger.close();
    await database.close();
  }
}

/** Verification and the hold are done here; a gateway on Node, which has the keys, sends and credits. */
async function loadPayments() {
  return (await import('../payments/methods/entrusted.ts')).openEntrustedPayments;
}

const consoleLog: Log = {
  debug: () => {},
  info: () => {},
  warn: (fields, message) => console.warn(message, fields),
  error: (fields, message) => console.error(message, fields),
};

/** An isolate lives too briefly to be scraped: the platform's own analytics count there. */
const noMetrics: Metrics = {
  callClosed: () => {},
  refused: () => {},
  render: () => '',
  contentType: 'text/plain',
};
