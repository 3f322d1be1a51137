/** A Postgres of the attack's own, and what can befall one. Its processes die and freeze; its machine does not. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type Database } from '../../db/connect.ts';
import { startEmbedded } from '../../db/embedded.ts';
import { migrate } from '../../db/migrate.ts';

export interface Cluster {
  readonly url: string;
  /** A connection of the harness, past the proxies. */
  readonly database: Database;
  /** Ends every other session, as an administrator would. */
  terminateAll(): Promise<void>;
  /** Kills one server process with -9: Postgres then drops all sessions and recovers from its log. */
  crash(): Promise<void>;
  /** Stops all its processes where they are until the work is done; resolves when it answers again. */
  whileFrozen(work: () => Promise<void>): Promise<void>;
  /** Resolves when it answers. */
  up(): Promise<void>;
  close(): Promise<void>;
}

export async function startCluster(home: string): Promise<Cluster> {
  const server = await startEmbedded(home, ['fsync=off', 'log_min_messages=fatal']);
  await migrate(server.url);
  const database = connect(server.url, { max: 2 });
  const { sql } = database;
  const [place] = await sql<{ directory: string }[]>`select current_setting('data_directory') as directory`;
  const postmaster = Number((await readFile(join(place?.directory ?? '', 'postmaster.pid'), 'utf8')).split('\n')[0]);
  const stopToo = () => signal(postmaster, 'SIGINT');
  process.once('exit', stopToo);
  const up = async () => {
    while (!(await sql`select 1`.then(() => true).catch(() => false))) await sleep(50);
  };
  return {
    url: server.url,
    database,
    terminateAll: async () => {
      await sql`select pg_terminate_backend(pid) from pg_stat_activity
        where backend_type = 'client backend' and pid <> pg_backend_pid()`;
    },
    crash: async () => {
      const [own] = await sql<{ pid: number }[]>`select pg_backend_pid() as pid`;
      if (own !== undefined) process.kill(own.pid, 'SIGKILL');
    },
    whileFrozen: async (work) => {
      const frozen = [postmaster, ...(await childrenOf(postmaster))];
      for (const pid of frozen) signal(pid, 'SIGSTOP');
      try {
        await work();
      } finally {
        for (const pid of frozen) signal(pid, 'SIGCONT');
      }
      await up();
    },
    up,
    close: async () => {
      await database.close();
      await server.stop();
      process.off('exit', stopToo);
    },
  };
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It ended by itself meanwhile.
  }
}

/** By the fourth field of proc(5) `stat`. */
async function childrenOf(parent: number): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    pids.map(async (pid) => {
      const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
      return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] === String(parent) ? [Number(pid)] : [];
    }),
  );
  return found.flat();
}
