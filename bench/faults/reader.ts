/** A bank reader (after Jepsen's): every 50 ms it reads all balances in one snapshot, while everything else goes wrong. */
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '../../db/connect.ts';

const READ_EVERY_MS = 50;

export interface Readings {
  reads: number;
  /** Reads that the database did not answer. */
  missed: number;
  /** Reads at which the total was not what was deposited, or entries did not sum to zero. */
  wrongTotals: number;
  /** Reads that saw an account below its floor. */
  negatives: number;
}

/** `deposited` is the total of all accounts but the world's. The returned function ends it. */
export function startReader(url: string, deposited: bigint): () => Promise<Readings> {
  const database = connect(url, { max: 1 });
  const readings: Readings = { reads: 0, missed: 0, wrongTotals: 0, negatives: 0 };
  let running = true;
  const read = async () => {
    const [row] = await database.sql<{ total: bigint; all: bigint; negative: number }[]>`
      select coalesce(sum(balance) filter (where kind <> 'world'), 0)::bigint as total,
        coalesce(sum(balance), 0)::bigint as all, (count(*) filter (where balance < floor))::int as negative
      from account`;
    readings.reads += 1;
    if (row?.total !== deposited || row.all !== 0n) readings.wrongTotals += 1;
    if (row?.negative !== 0) readings.negatives += 1;
  };
  const work = (async () => {
    while (running) {
      await read().catch(() => {
        readings.missed += 1;
      });
      await sleep(READ_EVERY_MS);
    }
  })();
  return async () => {
    running = false;
    await work;
    await database.close();
    return readings;
  };
}
