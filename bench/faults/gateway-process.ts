/** `faregate serve` in a process of its own, behind a fault proxy, started again whenever it dies until it is told to stop. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type FaultProxy, startProxy } from './proxy.ts';

/** Where a process dies by itself; see failpoints.ts. The rest are struck by the proxy. */
export const processFailpoints = [
  'before open',
  'after open',
  'mid stream',
  'before close',
  'after close',
  'before ack',
  'segment mark',
] as const;

export interface GatewayOptions {
  readonly name: string;
  /** For its data directory, its log, the code cache that all share. */
  readonly home: string;
  readonly databaseUrl: string;
  readonly ack: 'page' | 'disk' | 'database';
  readonly adminKey: string;
  /** The environment of failpoints.ts for the next start. */
  readonly arm?: () => Readonly<Record<string, string>>;
}

const cli = fileURLToPath(new URL('../../gateway/cli.ts', import.meta.url));
const failpoints = new URL('./failpoints.ts', import.meta.url).href;
const START_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 45_000;
const RESTART_PAUSE_MS = 50;

export class GatewayProcess {
  readonly name: string;
  readonly proxy: FaultProxy;
  readonly #options: GatewayOptions;
  #child: ChildProcess | null = null;
  #stopping = false;
  #life: Promise<void> = Promise.resolve();
  /** Null while it is not ready. */
  url: string | null = null;
  #lives = 0;
  /** Deaths by SIGKILL, whoever sent it. */
  kills = 0;
  /** Ends that nobody wanted, after it had been ready: each is a failure of the gateway. */
  readonly deaths: string[] = [];
  /** From each start to its readiness. */
  readonly readyMs: number[] = [];

  static async open(options: GatewayOptions): Promise<GatewayProcess> {
    const proxy = await startProxy(options.databaseUrl, () => gateway.kill());
    const gateway: GatewayProcess = new GatewayProcess(options, proxy);
    return gateway;
  }

  private constructor(options: GatewayOptions, proxy: FaultProxy) {
    this.name = options.name;
    this.#options = options;
    this.proxy = proxy;
  }

  get dataDir(): string {
    return join(this.#options.home, this.name);
  }

  /** Resolves when it is ready for the first time. */
  async start(): Promise<void> {
    this.#stopping = false;
    this.#life = this.#liveOn();
    await this.ready();
  }

  async ready(): Promise<void> {
    for (const endMs = performance.now() + START_LIMIT_MS; this.url === null; await sleep(20)) {
      if (performance.now() > endMs) throw new Error(`${this.name} was not ready in ${START_LIMIT_MS} ms`);
    }
  }

  kill(): void {
    this.#child?.kill('SIGKILL');
  }

  /** Kills it, unless it is dead just now, and resolves when it is ready again. */
  async restart(): Promise<void> {
    const lives = this.#lives;
    this.kill();
    while (this.#lives === lives) await sleep(20);
    await this.ready();
  }

  /** Stops it as an operator would; false when it did not end well. */
  async stop(): Promise<boolean> {
    this.#stopping = true;
    const child = this.#child;
    child?.kill('SIGTERM');
    const late = setTimeout(() => child?.kill('SIGKILL'), STOP_LIMIT_MS);
    await this.#life;
    clearTimeout(late);
    return child?.exitCode === 0;
  }

  async #liveOn(): Promise<void> {
    while (!this.#stopping) {
      const startedMs = performance.now();
      const child = this.#spawn();
      const killToo = () => void child.kill('SIGKILL');
      process.once('exit', killToo);
      this.#child = child;
      this.#lives += 1;
      const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
      const url = await this.#readyLine(child);
      if (url !== null) {
        this.url = url;
        this.readyMs.push(performance.now() - startedMs);
      }
      await ended;
      process.off('exit', killToo);
      this.url = null;
      if (child.signalCode === 'SIGKILL') this.kills += 1;
      else if (url !== null && !this.#stopping) this.deaths.push(`${this.name} ended by itself: ${child.exitCode}`);
      if (!this.#stopping) await sleep(RESTART_PAUSE_MS);
    }
  }

  #spawn(): ChildProcess {
    const { home, ack, adminKey, arm } = this.#options;
    const env = {
      ...process.env,
      DATABASE_URL: this.proxy.url,
      FAREGATE_ACK: ack,
      FAREGATE_ADMIN_KEY: adminKey,
      FAREGATE_ALLOW_PRIVATE_WORKERS: '1',
      FAREGATE_DATA_DIR: this.dataDir,
      FAREGATE_LOG: 'warn',
      FAREGATE_PORT: '0',
      NODE_COMPILE_CACHE: join(home, 'code-cache'),
      ...arm?.(),
    };
    const log = openSync(join(home, `${this.name}.log`), 'a');
    const child = spawn(process.execPath, ['--import', failpoints, cli, 'serve'], {
      env,
      stdio: ['ignore', 'pipe', log],
    });
    closeSync(log);
    return child;
  }

  /** Null when the process ended before it was ready: the database may be away just then. */
  async #readyLine(child: ChildProcess): Promise<string | null> {
    if (child.stdout === null) return null;
    for await (const line of createInterface({ input: child.stdout })) {
      return (JSON.parse(line) as { url: string }).url;
    }
    return null;
  }
}
