/** The journals of a data directory: `journal` of a gateway in one process, `journal-1` and so on where there are several. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { lockDirectory } from '../payments/directory.ts';
import { type InstanceOptions, openInstance } from '../payments/instance.ts';
import type { Config } from './config.ts';

/** The journal of this very process. */
export function journalDirectory({ dataDir, processNumber }: Config): string {
  return join(dataDir, journalName(processNumber));
}

export function journalName(processNumber: number | null): string {
  return processNumber === null ? 'journal' : `journal-${processNumber}`;
}

/**
 * Settles what processes left that will not come back, because there are fewer of them now, and returns what they had leased.
 * Throws when one of them still runs.
 */
export async function settleLeftJournals(
  dataDir: string,
  used: ReadonlySet<string>,
  options: Omit<InstanceOptions, 'directory'>,
): Promise<void> {
  for (const name of await readdir(dataDir)) {
    if (!/^journal(-\d+)?$/.test(name) || used.has(name)) continue;
    const left = await openInstance({ ...options, directory: lockDirectory(join(dataDir, name)) });
    await left.close();
  }
}
