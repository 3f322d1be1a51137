/**
 * Who goes first on the core that the load generator, the worker and Postgres share. The first two stand for machines of their own: a statement
 * that keeps them waiting, as one of many calls does for some milliseconds, would be counted as the gateway's latency.
 */
import { writeFile } from 'node:fs/promises';
import { setPriority } from 'node:os';
import type { Sql } from '../db/connect.ts';

/** A tenth of the weight of those that wait for nobody. */
const NICE = 10;

/** Lets the processes of Postgres that are there wait for others, as far as the system can do that. */
export async function stepBack(sql: Sql): Promise<void> {
  for (const { pid } of await sql<{ pid: number }[]>`select pid from pg_stat_activity`) {
    try {
      setPriority(pid, NICE);
      // Each of them is a session of its own, and Linux may divide a core among sessions first.
      await writeFile(`/proc/${pid}/autogroup`, String(NICE));
    } catch {
      // It has ended, or there are no such priorities here.
    }
  }
}
