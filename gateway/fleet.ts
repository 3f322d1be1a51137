/** Puts the router's parts together and keeps the fleet current with the registry. */
import type { Router } from '../router/dispatch.ts';
import { Fleet } from '../router/fleet.ts';
import { HedgeBudget } from '../router/hedge.ts';
import type { Outbound } from '../router/outbound.ts';
import { startProber } from '../router/probe.ts';
import { Registry } from '../router/registry.ts';
import { RetryBudget } from '../router/retry-budget.ts';
import { SharedLoad, TELL_MS } from '../router/shared-load.ts';
import { SharedPrefixes } from '../router/shared-prefixes.ts';
import type { Platform } from './platform.ts';

export interface OpenFleet {
  readonly router: Router;
  readonly registry: Registry;
  close(): Promise<void>;
}

/** Loads the workers, follows their changes, and probes them. */
export async function openFleet(platform: Platform, outbound: Outbound): Promise<OpenFleet> {
  const { config, database, log, now, random } = platform;
  const registry = new Registry(database.sql);
  const onState: NonNullable<ConstructorParameters<typeof Fleet>[0]['onState']> = (worker, state) => {
    const told = { worker: worker.record.id, operator: worker.record.operator, state, lastError: worker.lastError };
    if (state === 'quarantined') log.error(told, 'a worker was taken out of service: its operator must mend it');
    else log.info(told, 'a worker changed its state');
    platform.waitUntil(registry.setState(worker.record.id, state));
  };
  const fleet = new Fleet({ now, random, onState });
  const unfollow = await registry.follow(fleet, (error) =>
    log.warn({ err: error }, 'the fleet could not be read again'),
  );
  const stopSharing = await shareLoad(platform, fleet);
  const stopProber = startProber({ fleet, outbound, log });
  return {
    router: { fleet, outbound, retries: new RetryBudget(), hedges: config.hedge ? new HedgeBudget() : null, log },
    registry,
    close: async () => {
      stopProber();
      await stopSharing();
      await unfollow();
    },
  };
}

const LOAD_CHANNEL = 'faregate_load';
const ID_BYTES = 8;

/** Tells the other gateways on this database what runs here and which prompts went where, and hears it of them. While the database is away nothing waits for it. */
async function shareLoad({ database: { sql }, randomBytes }: Platform, fleet: Fleet): Promise<() => Promise<void>> {
  let telling: Promise<unknown> | null = null;
  const publish = (message: string) => {
    const told = Promise.resolve(telling)
      .then(() => sql.notify(LOAD_CHANNEL, message))
      .catch(() => {})
      .then(() => {
        if (telling === told) telling = null;
      });
    telling = told;
  };
  const options = { fleet, id: Buffer.from(randomBytes(ID_BYTES)).toString('hex'), publish };
  const load = new SharedLoad(options);
  const prefixes = new SharedPrefixes(options);
  const { unlisten } = await sql.listen(LOAD_CHANNEL, (message) => {
    load.receive(message);
    prefixes.receive(message);
  });
  // What is not told now is part of what is told next: messages must not queue up.
  const timer = setInterval(() => {
    if (telling !== null) return;
    load.tick();
    prefixes.tick();
  }, TELL_MS);
  timer.unref();
  return async () => {
    clearInterval(timer);
    load.leave();
    await telling;
    await unlisten();
  };
}
