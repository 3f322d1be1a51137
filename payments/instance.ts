/**
 * One life of one gateway in the ledger: it takes its directory, begins a new epoch and holds money for calls. Meanwhile it settles
 * what an earlier life left in the journal, and then returns the money that life did not spend.
 */
import type { Sql } from '../db/connect.ts';
import type { InstanceDirectory } from './directory.ts';
import { readEarlierLives, settleEarlierLives } from './earlier-lives.ts';
import { type Acknowledgement, Holds } from './holds.ts';
import { FileJournal } from './journal-files.ts';
import { type Holder, returnLeases } from './lease-statements.ts';
import { Leases } from './leases.ts';
import { newId } from './ledger.ts';
import { type InstanceLock, takeLock } from './lock.ts';
import { repeat, withDeadline } from './retry.ts';
import { Settler } from './settle.ts';

export interface InstanceOptions {
  readonly sql: Sql;
  /** The instance's own directory, locked; unlocked again at the close. Null where there is no disk: then `ack` must be `database`. */
  readonly directory: InstanceDirectory | null;
  readonly ack: Acknowledgement;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  readonly log: InstanceLog;
  /** A hold is resolved after this at the latest. */
  readonly holdExpiryMs?: number;
  /** No calls are admitted while so many wait to be settled. */
  readonly unsettledMax?: number;
  /** False where a process lives for one call: it needs no ear for recalls, as it gives everything back at its end. */
  readonly lasting?: boolean;
}

interface InstanceLog {
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface LedgerInstance {
  readonly id: string;
  readonly epoch: number;
  readonly holds: Holds;
  readonly settler: Settler;
  /** Resolves when what earlier lives left is settled and what they did not spend is returned, or when this life is closed. */
  readonly earlierSettled: Promise<void>;
  /** False when no more calls can be charged safely; the gateway is then not ready. */
  healthy(): boolean;
  /** Resolves what is open, settles all, returns the leases. What the database does not take in time stays in the journal. */
  close(): Promise<void>;
}

/** Ten minutes for the longest call, and one more. */
const HOLD_EXPIRY_MS = 660_000;
const UNSETTLED_MAX = 100_000;
const EXPIRY_CHECK_MS = 1_000;
const STATEMENT_LIMIT_MS = 10_000;
const CLOSE_LIMIT_MS = 10_000;

/** Opens the instance of a directory. Throws when another process has it, or when the database cannot be reached. */
export async function openInstance(options: InstanceOptions): Promise<LedgerInstance> {
  const { directory } = options;
  if (directory === null && options.ack !== 'database')
    throw new Error(`acknowledgement "${options.ack}" needs a disk`);
  try {
    const lock = directory === null ? null : await takeLock(options.sql, directory.id);
    try {
      return await begin(options, directory, lock);
    } catch (error) {
      await lock?.release();
      throw error;
    }
  } catch (error) {
    directory?.unlock();
    throw error;
  }
}

async function begin(
  options: InstanceOptions,
  directory: InstanceDirectory | null,
  lock: InstanceLock | null,
): Promise<LedgerInstance> {
  const { sql, ack, now, log } = options;
  const report = (error: unknown): void =>
    log.error({ err: error }, 'the ledger met an error that waiting does not mend');
  let journal: FileJournal | null = null;
  const settler = new Settler({
    sql,
    report,
    settled: (segment, calls) => journal?.settled(segment, calls),
  });
  const holder = await nextEpoch(sql, directory?.id ?? newId('inst'));
  const life = new AbortController();
  let earlierSettled = Promise.resolve();
  if (directory !== null) {
    const left = readEarlierLives(directory.path);
    if (left.damage.length > 0) log.error({ directory: left.path, damage: left.damage }, 'the journal is damaged');
    journal = new FileJournal(left.path, { level: ack === 'disk' ? 'disk' : 'page' });
    const { signal } = life;
    earlierSettled = settleEarlierLives(left, { sql, holder, settler, journal, report, signal }).catch(report);
  }
  const leases = new Leases({ sql, holder, now, report, earlierSettled });
  const expiryMs = options.holdExpiryMs ?? HOLD_EXPIRY_MS;
  const unsettledMax = options.unsettledMax ?? UNSETTLED_MAX;
  const unwatch = options.lasting === false ? null : await leases.watch();
  const holds = new Holds({ leases, settler, journal, ack, now, expiryMs, unsettledMax });
  const expiry = setInterval(() => holds.expire(), EXPIRY_CHECK_MS);
  expiry.unref();
  return {
    id: holder.instanceId,
    epoch: holder.epoch,
    holds,
    settler,
    earlierSettled,
    healthy: () => holds.accepting && settler.failure === null && (lock?.held ?? true),
    close: async () => {
      clearInterval(expiry);
      life.abort();
      holds.close();
      await unwatch?.().catch(report);
      await settleAndReturn(sql, holder, settler).catch((error) =>
        log.warn({ err: error, ...holder }, 'the database is away: the next start settles and returns the rest'),
      );
      await journal?.close();
      await lock?.release();
      directory?.unlock();
    },
  };
}

/** Begins the next life of the instance: from here on the database grants nothing to the one before. */
async function nextEpoch(sql: Sql, instanceId: string): Promise<Holder> {
  const [row] = await repeat(
    () => sql<{ epoch: number }[]>`
      insert into instance (id, epoch) values (${instanceId}, 1)
      on conflict (id) do update set epoch = instance.epoch + 1, started_at = now()
      returning epoch`,
    STATEMENT_LIMIT_MS,
  );
  if (row === undefined) throw new Error('the instance was not stored');
  return { instanceId, epoch: row.epoch };
}

/** What the database does not take in time is in the journal, or in leases that the next life returns. */
async function settleAndReturn(sql: Sql, holder: Holder, settler: Settler): Promise<void> {
  try {
    await withDeadline(settler.drain(), CLOSE_LIMIT_MS);
  } finally {
    settler.stop();
  }
  // With the epoch end the grants that are still on their way: none may fill a lease that is returned already.
  await repeat(
    () => sql`update instance set epoch = epoch + 1 where id = ${holder.instanceId} and epoch = ${holder.epoch}`,
    STATEMENT_LIMIT_MS,
  );
  await returnLeases(sql, holder.instanceId, holder.epoch + 1);
}
