/**
 * Several gateway processes behind one socket: each with its own journal and lease, so that none waits for another. The process that
 * keeps them owns the socket and the embedded Postgres, starts again who crashed, and answers no call itself.
 */
import cluster, { type Worker } from 'node:cluster';
import { once } from 'node:events';
import { join } from 'node:path';
import { connect } from '../db/connect.ts';
import { startEmbedded } from '../db/embedded.ts';
import { migrate } from '../db/migrate.ts';
import { lockDirectory } from '../payments/directory.ts';
import type { Config } from './config.ts';
import { loadAdminKey, removeWhereabouts, writeWhereabouts } from './data-dir.ts';
import { journalName, settleJournals } from './journals.ts';
import type { Log } from './platform.ts';

/** A process that lived as long as this crashed for a reason of its own, and is replaced at once. */
const SOUND_LIFE_MS = 60_000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 10_000;
/** For young objects, in MiB. On a large machine the default is 64: no less CPU per call, and 100 MB more of memory. */
const YOUNG_SPACE = '--max-semi-space-size=16';

export interface RunningProcesses {
  readonly url: string;
  /** Replaces one process after the other; each drains first, while the others answer. */
  restart(): Promise<void>;
  /** Drains all; see RunningGateway. */
  stop(hurry: AbortSignal): Promise<void>;
}

/** Starts the processes and resolves when all answer. Throws when one of them cannot start. */
export async function startProcesses(config: Config, log: Log): Promise<RunningProcesses> {
  const undo: (() => Promise<void>)[] = [];
  try {
    // Held so that no other gateway begins on this directory; the processes have journals of their own.
    const lock = () => lockDirectory(join(config.dataDir, journalName(null)));
    let held = lock();
    undo.unshift(async () => held.unlock());
    const embedded = config.databaseUrl === undefined ? await startEmbedded(config.dataDir) : null;
    if (embedded !== null) undo.unshift(() => embedded.stop());
    const databaseUrl = embedded?.url ?? config.databaseUrl ?? '';
    await migrate(databaseUrl);
    held.unlock();
    await settleOthers(config, databaseUrl, log);
    held = lock();
    const adminKey = config.adminKey ?? (await loadAdminKey(config.dataDir));
    const slots = Array.from({ length: config.processes }, (_, index) => new Slot(index + 1, log));
    undo.unshift(() => stopAll(slots, new AbortController().signal));
    cluster.setupPrimary({ execArgv: [...process.execArgv, YOUNG_SPACE] });
    const env = { DATABASE_URL: databaseUrl, FAREGATE_ADMIN_KEY: adminKey };
    const urls = await Promise.all(slots.map((slot) => slot.start(env)));
    const url = urls[0] ?? '';
    await writeWhereabouts(config.dataDir, { url, pid: process.pid });
    undo.unshift(() => removeWhereabouts(config.dataDir));
    log.info({ url, processes: slots.length }, 'all processes are ready');
    return {
      url,
      restart: async () => {
        for (const slot of slots) await slot.replace();
      },
      stop: async (hurry) => {
        await stopAll(slots, hurry);
        for (const step of undo) await step();
      },
    };
  } catch (error) {
    for (const step of undo) await step().catch(() => {});
    throw error;
  }
}

/** Settles the journals that none of the processes will open. */
async function settleOthers(config: Config, databaseUrl: string, log: Log): Promise<void> {
  const { sql, close } = connect(databaseUrl);
  try {
    const used = new Set(Array.from({ length: config.processes }, (_, index) => journalName(index + 1)));
    await settleJournals(config.dataDir, used, { sql, ack: config.ack, log, now: () => performance.now() });
  } finally {
    await close();
  }
}

async function stopAll(slots: readonly Slot[], hurry: AbortSignal): Promise<void> {
  await Promise.all(slots.map((slot) => slot.stop(hurry)));
}

/** The place of one process: whoever dies in it is followed by another with the same journal. */
class Slot {
  readonly #number: number;
  readonly #log: Log;
  #env: Readonly<Record<string, string>> = {};
  #worker: Worker | null = null;
  #startedAtMs = 0;
  #pauseMs = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #wanted = true;

  constructor(number: number, log: Log) {
    this.#number = number;
    this.#log = log;
  }

  /** Resolves with the URL when the process answers; throws when it ends before. */
  async start(env: Readonly<Record<string, string>>): Promise<string> {
    this.#env = env;
    const worker = this.#fork();
    const [message] = await Promise.race([once(worker, 'message'), once(worker, 'exit').then(() => [null])]);
    if (message === null) throw new Error(`process ${this.#number} ended before it was ready`);
    worker.on('exit', () => this.#follow());
    return (message as { url: string }).url;
  }

  /** Lets the process drain and end, then puts another one in its place. */
  async replace(): Promise<void> {
    this.#wanted = false;
    await this.#end(new AbortController().signal);
    this.#wanted = true;
    await this.start(this.#env);
  }

  async stop(hurry: AbortSignal): Promise<void> {
    this.#wanted = false;
    clearTimeout(this.#timer);
    await this.#end(hurry);
  }

  #fork(): Worker {
    this.#startedAtMs = performance.now();
    const worker = cluster.fork({ ...this.#env, FAREGATE_PROCESSES: '1', FAREGATE_PROCESS_NUMBER: this.#number });
    this.#worker = worker;
    return worker;
  }

  /** After a crash: at once at first, more and more slowly while it goes on. */
  #follow(): void {
    if (!this.#wanted) return;
    const wasSound = performance.now() - this.#startedAtMs > SOUND_LIFE_MS;
    this.#pauseMs = wasSound ? 0 : Math.min(LONGEST_PAUSE_MS, Math.max(FIRST_PAUSE_MS, 2 * this.#pauseMs));
    this.#log.error({ process: this.#number, pauseMs: this.#pauseMs }, 'a process ended unasked and is started again');
    this.#timer = setTimeout(() => {
      this.start(this.#env).catch(() => this.#follow());
    }, this.#pauseMs);
  }

  async #end(hurry: AbortSignal): Promise<void> {
    const worker = this.#worker;
    if (worker === null || worker.isDead()) return;
    const ended = once(worker, 'exit');
    const signal = () => worker.process.kill('SIGTERM');
    signal();
    hurry.addEventListener('abort', signal, { once: true });
    await ended;
  }
}
