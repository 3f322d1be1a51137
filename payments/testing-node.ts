/** A ledger instance that can be cut off from its database and killed in this very process, for the model test. */
import { cpSync } from 'node:fs';
import { connect as dial, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Sql } from '../db/connect.ts';
import { lockDirectory } from './directory.ts';
import { type LedgerInstance, openInstance } from './instance.ts';

interface NodeOptions {
  readonly sql: Sql;
  /** A folder of the node's own. */
  readonly home: string;
  readonly now: () => number;
  readonly holdExpiryMs: number;
  readonly unsettledMax?: number;
}

/** A node in its first life, on a clock that stands still. */
export async function startedNode(sql: Sql, home: string): Promise<{ node: LedgerNode; instance: LedgerInstance }> {
  const node = new LedgerNode({ sql, home, now: () => 0, holdExpiryMs: 1_000 });
  return { node, instance: await node.start() };
}

/** One life after another of the same instance. A life that was killed goes on in the void, harmlessly, until it gives up. */
export class LedgerNode {
  readonly #options: NodeOptions;
  #life: { instance: LedgerInstance; network: Network; path: string } | null = null;
  #lives = 0;
  #id: string | null = null;

  constructor(options: NodeOptions) {
    this.#options = options;
  }

  /** Null while it is dead. */
  get instance(): LedgerInstance | null {
    return this.#life?.instance ?? null;
  }

  get partitioned(): boolean {
    return this.#life?.network.cut ?? false;
  }

  /** A new life on the directory of the last one. */
  async start(): Promise<LedgerInstance> {
    const { sql, home, ...options } = this.#options;
    const path = join(home, `life-${this.#lives}`);
    const directory = lockDirectory(path);
    this.#id ??= directory.id;
    const network = new Network(sql);
    const silent = () => {};
    const log = { warn: silent, error: silent };
    const instance = await openInstance({ ...options, sql: network.sql, directory, ack: 'page', log });
    if (instance.id !== this.#id) throw new Error('the next life is another instance');
    this.#life = { instance, network, path };
    return instance;
  }

  /** Neither statements nor the lock's session reach the database until `heal`. */
  partition(): void {
    if (this.#life !== null) this.#life.network.cut = true;
  }

  heal(): void {
    if (this.#life !== null) this.#life.network.cut = false;
  }

  /** As kill -9 leaves it: what was written is there, what was in memory is not. */
  kill(): void {
    if (this.#life === null) return;
    const { instance, network, path } = this.#life;
    network.cut = true;
    this.#life = null;
    this.#lives += 1;
    const withoutLock = (source: string) => !source.endsWith('/lock');
    // At once: what runs on in this process must not move a segment on the way.
    cpSync(path, join(this.#options.home, `life-${this.#lives}`), { recursive: true, filter: withoutLock });
    instance.settler.stop();
    void instance.close();
  }

  /** As a drain does it. */
  async stop(): Promise<void> {
    const life = this.#life;
    this.#life = null;
    await life?.instance.close();
  }
}

/** The way to the database: statements by a client that all share, the lock's session on sockets that can be cut. */
class Network {
  readonly sql: Sql;
  readonly #sockets = new Set<Socket>();
  #cut = false;

  constructor(shared: Sql) {
    const refused = () => {
      const refusal = Promise.reject(Object.assign(new Error('partitioned'), { code: 'PARTITIONED' }));
      // A fragment inside another statement is awaited by nobody.
      refusal.catch(() => {});
      return refusal;
    };
    const { host, port } = shared.options;
    const socket = () => this.#dial(port[0] ?? 0, host[0] ?? '');
    const options = { ...shared.options, socket };
    this.sql = new Proxy(shared, {
      apply: (target, self, args) => (this.#cut ? refused() : Reflect.apply(target, self, args)),
      get: (target, name) => (name === 'options' ? options : Reflect.get(target, name)),
    });
  }

  get cut(): boolean {
    return this.#cut;
  }

  set cut(cut: boolean) {
    this.#cut = cut;
    if (cut) for (const socket of this.#sockets) socket.destroy();
  }

  #dial(port: number, host: string): Promise<Socket> {
    if (this.#cut) return Promise.reject(Object.assign(new Error('partitioned'), { code: 'ECONNREFUSED' }));
    const socket = dial(port, host);
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    return Promise.resolve(socket);
  }
}
