/**
 * A gateway with a part of its work left out, to see what the rest costs: built of the product's own parts, with stand-ins that
 * do nothing for what is left out. Usage: stage.ts pass | auth; configured by the environment, as `faregate serve`.
 */
import { tuneCollector } from '../gateway/collector.ts';
import { readConfig } from '../gateway/config.ts';
import { startGateway } from '../gateway/node.ts';
import type { Gateway } from '../gateway/platform.ts';
import { anyProvider } from '../gateway/provider.ts';
import { serveGateway } from '../gateway/server-node.ts';
import { untilStopped } from '../gateway/shutdown.ts';
import type { Hold, HoldRequest } from '../payments/holds.ts';
import { announceUrl } from './child.ts';

const nothing = Promise.resolve();

/** Everything but keys, limits and money: relays, routes, judges and meters. */
function passing(gateway: Gateway): Gateway {
  const { limits } = gateway.platform.config;
  const anybody = {
    kind: 'agent',
    keyId: 'key_anybody',
    ownerId: 'acct_anybody',
    test: false,
    ancestors: [],
    budgets: [],
    provider: anyProvider,
    limits,
  } as const;
  const admitted = { ok: true, lines: '', release: () => {} } as const;
  return {
    ...authenticating(gateway),
    keyring: instead(gateway.keyring, { authenticate: () => anybody }),
    rateLimiter: instead(gateway.rateLimiter, { admit: () => admitted }),
  };
}

/** Everything but money. */
function authenticating(gateway: Gateway): Gateway {
  const holds = instead(gateway.ledger.holds, { hold: freeHold });
  return { ...gateway, ledger: { ...gateway.ledger, holds } };
}

function freeHold({ callId, amount }: HoldRequest): Hold {
  return {
    callId,
    amount,
    charged: 0n,
    open: () => {},
    progress: () => {},
    capture: () => nothing,
    void: () => nothing,
  };
}

/** The object with some of its methods exchanged. Only these are fit for use. */
function instead<T extends object>(real: T, methods: Partial<T>): T {
  return Object.assign(Object.create(real), methods);
}

tuneCollector();
const stages = { pass: passing, auth: authenticating };
const build = process.argv[2] === 'pass' ? stages.pass : stages.auth;
const config = readConfig(process.env);
const running = await startGateway(config);
const server = await serveGateway(build(running.gateway), config);
announceUrl(server.url);
await untilStopped(async (hurry) => {
  server.closeAll();
  await server.close();
  await running.stop(hurry);
});
