/** Fleets on a clock and dice of a test's own, and calls that ask for nothing special. */
import { Fleet } from './fleet.ts';
import { type Need, pick } from './pick.ts';
import { anyPolicy, type Policy, type Rule } from './policy.ts';
import type { Refusal } from './refusal.ts';
import type { Reservation } from './reservation.ts';
import type { Worker, WorkerRecord } from './worker.ts';

export function record(id: string, more: Partial<WorkerRecord> = {}): WorkerRecord {
  return {
    id,
    operator: `op_${id}`,
    url: `http://${id}`,
    engineKey: null,
    models: [{ id: 'tiny', contextLength: 8192 }],
    country: 'NO',
    region: 'north',
    slots: 4,
    state: 'active',
    ...more,
  };
}

/** A fleet on a clock and dice of the test's own. */
export function fleetOf(records: readonly WorkerRecord[], clock = { nowMs: 0 }) {
  let seed = 1;
  const random = () => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed / 2_147_483_647;
  };
  const fleet = new Fleet({ now: () => clock.nowMs, random });
  for (const one of records) fleet.upsert(one);
  return { fleet, clock };
}

export const need: Need = {
  model: 'tiny',
  tokensMax: 100,
  promptTokens: 10,
  outputTokens: 16,
  sequences: 1,
  showsContent: true,
  prefix: null,
  policy: anyPolicy,
  exclude: new Set(),
};

export const only = (...ids: string[]): Rule => ({ only: new Set(ids), never: new Set() });
export const never = (...ids: string[]): Rule => ({ only: null, never: new Set(ids) });

export function reserve(fleet: Fleet, more: Partial<Need> = {}): Reservation {
  const picked = pick(fleet, { ...need, ...more });
  if (picked.kind === 'refusal') throw new Error(picked.constraint);
  return picked.reservation;
}

export function wishing(policy: Partial<Policy>): Partial<Need> {
  return { policy: { ...anyPolicy, ...policy } };
}

export function refusal(fleet: Fleet, more: Partial<Need> = {}): Refusal {
  const picked = pick(fleet, { ...need, ...more });
  if (picked.kind === 'choice') throw new Error('somebody serves it');
  return picked;
}

export const idOf = (reservation: Reservation) => reservation.worker.record.id;

export function workerOf(fleet: Fleet, id: string): Worker {
  const worker = fleet.get(id);
  if (worker === undefined) throw new Error(`no ${id}`);
  return worker;
}
