/**
 * What earlier lives of an instance left behind: calls in the journal, money in leases. A gateway opens over it at once: whoever asks
 * for a balance or a call waits for the settler, and whoever lacks money waits for the leases.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sql } from '../db/connect.ts';
import { callsToSettle } from './journal.ts';
import { type Damage, type FileJournal, readJournal, setDamagedAside } from './journal-files.ts';
import { type Holder, returnLeases } from './lease-statements.ts';
import { isTransient, pauseMsBefore } from './retry.ts';
import type { Settler } from './settle.ts';

export interface LeftBehind {
  readonly path: string;
  /** Texts by record.ts. */
  readonly calls: readonly string[];
  readonly damage: readonly Damage[];
}

interface Heir {
  readonly sql: Sql;
  readonly holder: Holder;
  readonly settler: Settler;
  readonly journal: FileJournal;
  readonly report: (error: unknown) => void;
  /** Ends with the life. */
  readonly signal: AbortSignal;
}

/** Reads the journal in a directory. Throws NewerRecord. */
export function readEarlierLives(path: string): LeftBehind {
  const { records, damage } = readJournal(path);
  return { path, calls: callsToSettle(records), damage };
}

/**
 * First the calls, then the leases: what these still hold is what those cost. The journal stays until all of its calls are committed.
 * While the database is away it waits; it rejects when the directory cannot be changed.
 */
export async function settleEarlierLives({ path, calls, damage }: LeftBehind, heir: Heir): Promise<void> {
  const { sql, holder, settler, journal, report, signal } = heir;
  for (const text of calls) void settler.add({ text, segment: null });
  await settler.drain();
  setDamagedAside(path, damage);
  journal.retireEarlier();
  for (let attempt = 0; !signal.aborted; attempt++) {
    try {
      return await returnLeases(sql, holder.instanceId, holder.epoch);
    } catch (error) {
      if (!isTransient(error)) return report(error);
      await sleep(pauseMsBefore(attempt));
    }
  }
}
