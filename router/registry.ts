/**
 * The workers as Postgres remembers them. Each write tells the channel, so that every gateway's fleet follows at once; a fleet
 * that lost the channel for a while loads everything again.
 */
import type postgres from 'postgres';
import { v7 as uuidv7 } from 'uuid';
import { isRecord } from './fault.ts';
import type { Fleet } from './fleet.ts';
import { gpuNames } from './gpu.ts';
import type { WorkerRecord, WorkerState } from './worker.ts';

type Sql = postgres.Sql<{ bigint: bigint }>;

/** What an operator declares. The URL has been through `checkWorkerUrl`. */
export type WorkerDeclaration = Pick<
  WorkerRecord,
  'operator' | 'url' | 'engineKey' | 'models' | 'country' | 'region' | 'slots' | 'gpu'
>;

/** A stored worker with its place in lists. */
export interface StoredWorker extends WorkerRecord {
  readonly createdAt: Date;
}

const CHANNEL = 'faregate_workers';
const STATES: readonly WorkerState[] = ['verifying', 'probation', 'active', 'degraded', 'quarantined', 'draining'];

export class Registry {
  readonly #sql: Sql;

  constructor(sql: Sql) {
    this.#sql = sql;
  }

  /** Stores a new worker; it serves once it has passed its first check. */
  async insert(declared: WorkerDeclaration): Promise<StoredWorker> {
    const { operator, url, engineKey, models, country, region, slots, gpu = null } = declared;
    const id = `wrk_${uuidv7().replaceAll('-', '')}`;
    const [row] = await this.#sql`
      insert into worker (id, operator, url, engine_key, models, country, region, slots, gpu, state)
      values (${id}, ${operator}, ${url}, ${engineKey}, ${JSON.stringify(models)}::text::jsonb, ${country}, ${region},
        ${slots}, ${gpu}, 'verifying')
      returning ${this.#columns()}, pg_notify(${CHANNEL}, id)`;
    if (row === undefined) throw new Error('the insert returned no row');
    return fromRow(row);
  }

  /** Drains (no new calls, running ones end) or, with false, begins to serve again by way of a check. Null: not theirs. */
  async drain(id: string, operator: string, drain: boolean): Promise<StoredWorker | null> {
    const rows = await this.#sql`
      update worker
      set state = case when ${drain} then 'draining' when state = 'draining' then 'verifying' else state end
      where id = ${id} and operator = ${operator} and removed_at is null
      returning ${this.#columns()}, pg_notify(${CHANNEL}, id)`;
    return only(rows);
  }

  /** Removes a worker for good; its row stays for the calls that name it. False: not theirs. */
  async remove(id: string, operator: string): Promise<boolean> {
    const rows = await this.#sql`
      update worker set removed_at = now()
      where id = ${id} and operator = ${operator} and removed_at is null
      returning pg_notify(${CHANNEL}, id)`;
    return rows.length > 0;
  }

  /** Remembers what a gateway saw. An operator's wish to drain is stronger. */
  async setState(id: string, state: WorkerState): Promise<void> {
    await this.#sql`
      update worker set state = ${state}
      where id = ${id} and removed_at is null and state not in ('draining', ${state})
      returning pg_notify(${CHANNEL}, id)`;
  }

  /** One worker that is not removed; of this operator, where one is named. */
  async find(id: string, operator: string | null = null): Promise<StoredWorker | null> {
    const rows = await this.#sql`
      select ${this.#columns()} from worker
      where id = ${id} and removed_at is null and (${operator}::text is null or operator = ${operator})`;
    return only(rows);
  }

  /** All workers that are not removed, oldest first; of this operator, where one is named. */
  async list(operator: string | null = null): Promise<StoredWorker[]> {
    const rows = await this.#sql`
      select ${this.#columns()} from worker
      where removed_at is null and (${operator}::text is null or operator = ${operator})
      order by id`;
    return rows.map(fromRow);
  }

  /** Loads the fleet and keeps it current. Resolves when it is loaded; the result ends the following. */
  async follow(fleet: Fleet, onError: (error: unknown) => void): Promise<() => Promise<void>> {
    let queue: Promise<void> = Promise.resolve();
    const enqueue = (work: () => Promise<void>) => {
      queue = queue.then(work).catch(onError); // one at a time: a slow load must not undo a later change
      return queue;
    };
    await this.#load(fleet);
    const { unlisten } = await this.#sql.listen(
      CHANNEL,
      (id) => void enqueue(() => this.#refresh(fleet, id)),
      () => void enqueue(() => this.#load(fleet)), // also after every reconnection
    );
    await queue;
    return async () => {
      await unlisten();
      await queue;
    };
  }

  async #load(fleet: Fleet): Promise<void> {
    const workers = await this.list();
    const present = new Set(workers.map(({ id }) => id));
    for (const { record } of fleet.all()) if (!present.has(record.id)) fleet.remove(record.id);
    for (const worker of workers) fleet.upsert(worker);
  }

  async #refresh(fleet: Fleet, id: string): Promise<void> {
    const worker = await this.find(id);
    if (worker === null) fleet.remove(id);
    else fleet.upsert(worker);
  }

  #columns() {
    return this.#sql`id, operator, url, engine_key, models, country, region, slots, gpu, state, created_at`;
  }
}

function only(rows: readonly postgres.Row[]): StoredWorker | null {
  const [row] = rows;
  return row === undefined ? null : fromRow(row);
}

/** The database's own checks make the columns what they are; only `models` is free JSON. */
function fromRow(row: postgres.Row): StoredWorker {
  const state = STATES.find((known) => known === row.state);
  if (state === undefined) throw new Error(`worker ${row.id} has the unknown state ${row.state}`);
  return {
    id: String(row.id),
    operator: String(row.operator),
    url: String(row.url),
    engineKey: row.engine_key === null ? null : String(row.engine_key),
    models: readModels(row.models),
    country: String(row.country),
    region: String(row.region),
    slots: Number(row.slots),
    gpu: gpuNames.find((known) => known === row.gpu) ?? null,
    state,
    createdAt: new Date(row.created_at),
  };
}

function readModels(value: unknown): WorkerRecord['models'] {
  if (!Array.isArray(value)) return [];
  return value
    .filter(isRecord)
    .map(({ id, contextLength }) => ({ id: String(id), contextLength: Number(contextLength) }));
}
