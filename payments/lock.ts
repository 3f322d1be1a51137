/** The second lock of an instance, in Postgres: two machines that see one directory cannot see each other's processes. */
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import type { Sql } from '../db/connect.ts';

/** The session of a lost machine is gone by then (see `tryLock`): where the lock is still taken, another process lives. */
const TAKE_LIMIT_MS = 15_000;
const PAUSE_MS = 100;
/** Separates our advisory locks from those of others in the same database. */
export const LOCK_SPACE = 7_310_002;

export interface InstanceLock {
  /** False from the moment that another process has it: then this one must stop. */
  readonly held: boolean;
  release(): Promise<void>;
}

/**
 * Takes the advisory lock of an instance on a connection of its own, and takes it again whenever that connection was lost.
 * Throws while another process has it.
 */
export async function takeLock(sql: Sql, instanceId: string, limitMs: number = TAKE_LIMIT_MS): Promise<InstanceLock> {
  const state = { held: true, released: false, retaking: false };
  const session = singleSession(sql, () => {
    if (state.held && !state.released && !state.retaking) void retake();
  });
  const retake = async (): Promise<void> => {
    state.retaking = true;
    for (let known = false; !known && !state.released; ) {
      await sleep(PAUSE_MS, undefined, { ref: false });
      // As long as the database does not answer, nobody else can take the lock either.
      const locked = await tryLock(session, instanceId).catch(() => null);
      known = locked !== null;
      state.held = locked ?? true;
    }
    state.retaking = false;
  };
  const release = async (): Promise<void> => {
    state.released = true;
    await session.end({ timeout: 1 });
  };
  const endMs = performance.now() + limitMs;
  while (!(await tryLock(session, instanceId))) {
    if (performance.now() > endMs) {
      await release();
      throw new Error(`another process runs as ${instanceId}`);
    }
    await sleep(PAUSE_MS);
  }
  return {
    get held() {
      return state.held;
    },
    release,
  };
}

/** The server is to notice within ten seconds that the machine behind this session is gone; by default it takes hours. */
async function tryLock(session: Sql, instanceId: string): Promise<boolean> {
  const [row] = await session<{ locked: boolean }[]>`
    select set_config('tcp_keepalives_idle', '4', false), set_config('tcp_keepalives_interval', '2', false),
      set_config('tcp_keepalives_count', '3', false),
      pg_try_advisory_lock(${LOCK_SPACE}, hashtext(${instanceId})) as locked`;
  return row?.locked ?? false;
}

type Options = postgres.Options<{ bigint: postgres.PostgresType<bigint> }>;

/** One lasting connection to the same database. postgres.js takes its own parsed options again; its types do not say so. */
function singleSession(sql: Sql, onclose: () => void): Sql {
  return postgres({
    ...sql.options,
    max: 1,
    idle_timeout: undefined,
    max_lifetime: null,
    onclose,
  } as unknown as Options);
}
