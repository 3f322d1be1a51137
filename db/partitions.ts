/** The monthly partitions of `call`: cut ahead, and archived when they are old. */
import { archiveMonths } from './archive.ts';
import type { Sql } from './connect.ts';
import { monthOf } from './months.ts';

const MONTHS_AHEAD = 3;
const DAY_MS = 86_400_000;

/** Makes the partitions for this month and the next ones. Safe to repeat. */
export async function cutPartitions(sql: Sql, today: Date): Promise<void> {
  for (let ahead = 0; ahead <= MONTHS_AHEAD; ahead++) {
    const { partition, lowest, beyond } = monthOf(today, ahead);
    await sql.unsafe(
      `create table if not exists ${partition} partition of call for values from ('${lowest}') to ('${beyond}')`,
    );
  }
}

export interface Keeping {
  /** Whole months that stay; null: for ever. */
  readonly keepMonths: number | null;
  /** Where older ones are written to. */
  readonly archive: string;
  readonly archived: (month: string) => void;
  readonly failed: (error: unknown) => void;
}

/** Cuts and archives at once and then every day, as a gateway may run for long. Answers how to end; errors mend by the next day. */
export function keepPartitions(sql: Sql, { keepMonths, archive, archived, failed }: Keeping): () => Promise<void> {
  const keep = async () => {
    const today = new Date();
    await cutPartitions(sql, today);
    if (keepMonths === null) return;
    const before = monthOf(today, -keepMonths);
    for (const month of await archiveMonths(sql, { before, directory: archive })) archived(month);
  };
  let work = keep().catch(failed);
  const timer = setInterval(() => {
    work = work.then(keep).catch(failed);
  }, DAY_MS);
  timer.unref();
  return async () => {
    clearInterval(timer);
    await work;
  };
}
