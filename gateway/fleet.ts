/** Puts the router's parts together and keeps the fleet current with the registry. */
import type { Router } from '../router/dispatch.ts';
import { Fleet } from '../router/fleet.ts';
import type { Outbound } from '../router/outbound.ts';
import { startProber } from '../router/probe.ts';
import { Registry } from '../router/registry.ts';
import { RetryBudget } from '../router/retry-budget.ts';
import type { Platform } from './platform.ts';

export interface OpenFleet {
  readonly router: Router;
  readonly registry: Registry;
  close(): Promise<void>;
}

/** Loads the workers, follows their changes, and probes them. */
export async function openFleet(platform: Platform, outbound: Outbound): Promise<OpenFleet> {
  const { database, log, now, random } = platform;
  const registry = new Registry(database.sql);
  const onState: NonNullable<ConstructorParameters<typeof Fleet>[0]['onState']> = (worker, state) => {
    log.info({ worker: worker.record.id, state, lastError: worker.lastError }, 'a worker changed its state');
    platform.waitUntil(registry.setState(worker.record.id, state));
  };
  const fleet = new Fleet({ now, random, onState });
  const unfollow = await registry.follow(fleet, (error) =>
    log.warn({ err: error }, 'the fleet could not be read again'),
  );
  const stopProber = startProber({ fleet, outbound, log });
  return {
    router: { fleet, outbound, retries: new RetryBudget(), log },
    registry,
    close: async () => {
      stopProber();
      await unfollow();
    },
  };
}
