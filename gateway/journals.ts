/** The journals of a data directory: `journal` of a gateway in one process, `journal-1` and so on where there are several. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { lockDirectory } from '../payments/directory.ts';
import { type InstanceOptions, openInstance } from '../payments/instance.ts';
import { settleClaims } from './claims.ts';
import type { Config } from './config.ts';

/** The journal of this very process. */
export function journalDirectory({ dataDir, processNumber }: Config): string {
  return join(dataDir, journalName(processNumber));
}

export function journalName(processNumber: number | null): string {
  return processNumber === null ? 'journal' : `journal-${processNumber}`;
}

/**
 * Settles what gateways that will not come back left in a data directory, names of requests too, and returns what they had leased: all
 * but the journals in use. Answers whose they were. Throws when one of them still runs.
 */
export async function settleJournals(
  dataDir: string,
  used: ReadonlySet<string>,
  options: Omit<InstanceOptions, 'directory'>,
): Promise<string[]> {
  const settled: string[] = [];
  for (const name of await readdir(dataDir)) {
    if (!/^journal(-\d+)?$/.test(name) || used.has(name)) continue;
    const left = await openInstance({ ...options, directory: lockDirectory(join(dataDir, name)) });
    await left.earlierSettled;
    await settleClaims(options.sql, left);
    await left.close();
    settled.push(left.id);
  }
  return settled;
}
