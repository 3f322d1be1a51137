/** The Node entry: configuration to platform to gateway to socket, and the way back on a drain. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { connect, STATEMENT_MS } from '../db/connect.ts';
import { type EmbeddedPostgres, startEmbedded } from '../db/embedded.ts';
import { migrate } from '../db/migrate.ts';
import { keepPartitions } from '../db/partitions.ts';
import { watchedSockets } from '../db/watched-socket.ts';
import { type InstanceDirectory, lockDirectory } from '../payments/directory.ts';
import { openInstance } from '../payments/instance.ts';
import { OpenList } from '../payments/open-list.ts';
import { PriceList } from '../payments/prices.ts';
import { Keyring } from './auth.ts';
import { cacheSalts } from './cache-salt.ts';
import { ChoiceMemory } from './choice-memory.ts';
import { openClaims } from './claims.ts';
import type { Config } from './config.ts';
import { loadAdminKey, removeWhereabouts, writeWhereabouts } from './data-dir.ts';
import { Draining } from './exchange.ts';
import { ExpectedOutput } from './expected-output.ts';
import { openFleet } from './fleet.ts';
import { journalDirectory, journalName, settleJournals } from './journals.ts';
import { createMetrics } from './metrics.ts';
import { OperatorShares } from './operator-shares.ts';
import { createOutbound } from './outbound-node.ts';
import type { Gateway, Log, Platform } from './platform.ts';
import { RateLimiter } from './ratelimit.ts';
import { Replays } from './replays.ts';
import { loadSecrets } from './secrets.ts';
import { type GatewayServer, serveGateway } from './server-node.ts';
import { now } from './turn.ts';
import { PromptRatios } from './usage.ts';
import { openWallets } from './wallets.ts';

/** For who keeps a connection to make a call more over it, and hear that it was the last. */
const FAREWELL_MS = 500;
/** For the error events of calls that the drain cuts off. */
const LAST_WORDS_MS = 1_000;
/** A connection to the database is given up when an answer is later by so much than the server can be. */
const SILENCE_GRACE_MS = 5_000;

export interface RunningGateway {
  readonly url: string;
  readonly adminKey: string;
  readonly databaseUrl: string;
  readonly gateway: Gateway;
  /** Drains: no new calls, the running ones have their time (none after `hurry`), all is settled, all is closed. */
  stop(hurry?: AbortSignal): Promise<void>;
}

/** Starts a gateway and resolves when it answers. What was begun is stopped again when a later step fails. */
export async function startGateway(config: Config, log: Log = stderrLog(config)): Promise<RunningGateway> {
  const undo: (() => Promise<unknown>)[] = [];
  try {
    // Before the database: another gateway on this directory must keep its Postgres.
    const directory = lockDirectory(journalDirectory(config));
    undo.unshift(async () => directory.unlock());
    const embedded = config.databaseUrl === undefined ? await startEmbedded(config.dataDir) : null;
    if (embedded !== null) undo.unshift(() => embedded.stop());
    return await start(config, log, { directory, embedded }, undo);
  } catch (error) {
    for (const step of undo) await step().catch(() => {});
    throw error;
  }
}

async function start(
  config: Config,
  log: Log,
  held: { directory: InstanceDirectory; embedded: EmbeddedPostgres | null },
  undo: (() => Promise<unknown>)[],
): Promise<RunningGateway> {
  const databaseUrl = held.embedded?.url ?? config.databaseUrl ?? '';
  await migrate(databaseUrl);
  const platform = nodePlatform(config, log, databaseUrl);
  undo.unshift(() => platform.database.close());
  const adminKey = config.adminKey ?? (await loadAdminKey(config.dataDir));
  const isAlone = config.processNumber === null;
  const gateway = await assemble(platform, { adminKey, directory: held.directory, databaseUrl }, undo);
  const server = await serveGateway(gateway, config);
  const { url } = server;
  if (isAlone) await writeWhereabouts(config.dataDir, { url, pid: process.pid });
  log.info({ url, region: config.region }, 'ready');
  return {
    url,
    adminKey,
    databaseUrl,
    gateway,
    stop: async (hurry = new AbortController().signal) => {
      await drain(gateway, server, hurry);
      if (isAlone) await removeWhereabouts(config.dataDir);
      for (const step of undo) await step();
      log.info({}, 'stopped');
    },
  };
}

/** Builds what stands upon the platform; each part's way back is put in front of the others'. */
async function assemble(
  platform: Platform,
  { adminKey, directory, databaseUrl }: { adminKey: string; directory: InstanceDirectory; databaseUrl: string },
  undo: (() => Promise<unknown>)[],
): Promise<Gateway> {
  const { config, database, log } = platform;
  // Months of calls are read for longer than a call may take: on a connection whose silence means nothing.
  const upkeep = connect(databaseUrl, { max: 1 });
  undo.unshift(() => upkeep.close());
  undo.unshift(
    keepPartitions(upkeep.sql, {
      keepMonths: config.keepMonths,
      archive: join(config.dataDir, 'archive'),
      archived: (month) => log.info({ month }, 'the calls of a month are archived'),
      failed: (error) => log.error({ err: error }, 'the partitions of calls could not be kept'),
    }),
  );
  const secrets = await loadSecrets(database.sql);
  const options = { sql: database.sql, ack: config.ack, log, now: platform.now };
  if (config.processNumber === null) await settleJournals(config.dataDir, new Set([journalName(null)]), options);
  const holdExpiryMs = config.limits.totalMs + config.limits.holdGraceMs;
  const unsettledMax = config.limits.unsettledCalls;
  const ledger = await openInstance({ ...options, directory, holdExpiryMs, unsettledMax });
  undo.unshift(() => ledger.close());
  const claims = openClaims(platform, ledger);
  undo.unshift(() => claims.close());
  const prices = await PriceList.open(database.sql);
  undo.unshift(() => prices.close());
  const keyring = new Keyring({
    sql: database.sql,
    pepper: secrets.pepper,
    adminKey,
    limits: config.limits,
    now: platform.now,
  });
  undo.unshift(await keyring.watch());
  const outbound = createOutbound({ allowPrivate: config.allowPrivateWorkers, connectMs: config.limits.connectMs });
  undo.unshift(() => outbound.close());
  const fleet = await openFleet(platform, outbound.outbound);
  undo.unshift(() => fleet.close());
  const operatorShares = new OperatorShares(database.sql);
  await operatorShares.load();
  const load = async () => (await import('../payments/methods/open.ts')).openPayments;
  const payments = await openWallets(platform, keyring, secrets.challenge, load);
  undo.unshift(async () => payments?.close());
  const gateway: Gateway = {
    platform,
    keyring,
    prices,
    ledger,
    payments,
    router: fleet.router,
    registry: fleet.registry,
    rateLimiter: new RateLimiter(platform.now),
    replays: new Replays(config.limits, platform.now, claims),
    metrics: createMetrics(),
    promptRatios: new PromptRatios(),
    expectedOutput: new ExpectedOutput(),
    choices: new ChoiceMemory(),
    operatorShares,
    openCalls: new OpenList(),
    accepting: true,
    serving: true,
    cacheSalt: cacheSalts(secrets.cacheSalt),
  };
  return gateway;
}

function nodePlatform(config: Config, log: Log, databaseUrl: string): Platform {
  return {
    config,
    database: connect(databaseUrl, { socket: watchedSockets(STATEMENT_MS + SILENCE_GRACE_MS) }),
    log,
    now,
    random: Math.random,
    randomBytes,
    waitUntil: (work) => void work.catch((error) => log.error({ err: error }, 'background work failed')),
  };
}

async function drain(gateway: Gateway, server: GatewayServer, hurry: AbortSignal): Promise<void> {
  gateway.accepting = false;
  const closed = server.close();
  // Who calls in the very moment in which its connection is closed is not answered, and cannot know whether it was heard.
  await callersLeave(server, AbortSignal.any([hurry, AbortSignal.timeout(FAREWELL_MS)]));
  gateway.serving = false;
  server.closeIdle();
  await callsEnd(gateway, AbortSignal.any([hurry, AbortSignal.timeout(gateway.platform.config.limits.drainMs)]));
  for (const { control } of gateway.openCalls) control.abort(new Draining());
  await callsEnd(gateway, AbortSignal.timeout(LAST_WORDS_MS));
  server.closeAll();
  await closed;
}

/** Resolves when no connection is left to be told that its answer is the last, or at the signal. */
async function callersLeave(server: GatewayServer, signal: AbortSignal): Promise<void> {
  while (server.connections > 0 && !signal.aborted) await sleep(20);
}

/** Resolves when no call is open, or at the signal. */
async function callsEnd(gateway: Gateway, signal: AbortSignal): Promise<void> {
  while (gateway.openCalls.size > 0 && !signal.aborted) await sleep(20);
}

export function stderrLog(config: Config): Log {
  return pino({ level: config.logLevel, base: null }, pino.destination(2));
}
