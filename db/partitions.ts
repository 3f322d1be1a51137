import type { Sql } from './connect.ts';

const MONTHS_AHEAD = 3;
const DAY_MS = 86_400_000;

/** Makes the monthly partitions of `call` for this month and the next ones. Safe to repeat. */
export async function cutPartitions(sql: Sql, today: Date): Promise<void> {
  for (let ahead = 0; ahead <= MONTHS_AHEAD; ahead++) {
    const from = new Date(Date.UTC(today.getUTCFullYear(), today.getUTCMonth() + ahead, 1));
    const to = new Date(Date.UTC(today.getUTCFullYear(), today.getUTCMonth() + ahead + 1, 1));
    const name = `call_${from.toISOString().slice(0, 7).replace('-', '_')}`;
    await sql.unsafe(
      `create table if not exists ${name} partition of call for values from ('${lowestId(from)}') to ('${lowestId(to)}')`,
    );
  }
}

/** Cuts them every day, as a gateway may run for longer than they reach. Answers how to end; errors mend by the next day. */
export function keepPartitions(sql: Sql, report: (error: unknown) => void): () => Promise<void> {
  const timer = setInterval(() => void cutPartitions(sql, new Date()).catch(report), DAY_MS);
  timer.unref();
  return async () => clearInterval(timer);
}

/** The smallest UUID that a UUIDv7 made at this time can follow (RFC 9562: the first 48 bits are Unix milliseconds). */
function lowestId(time: Date): string {
  const hex = time.getTime().toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
}
