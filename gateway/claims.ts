/**
 * Which gateway serves a request that has a name (`Idempotency-Key`): one row in Postgres for each, so that it runs once however many
 * gateways and processes there are. A request without a name never comes here. While Postgres is away nobody can know whether another
 * gateway has the name, and the caller, who asked for once, is told to come again.
 */
import { hash } from 'node:crypto';
import type { Sql } from '../db/connect.ts';
import type { LedgerInstance } from '../payments/instance.ts';
import { repeat, withDeadline } from '../payments/retry.ts';
import { Turns } from '../payments/turns.ts';
import type { Log, Platform } from './platform.ts';
import { elsewhere, inProgress, lost, mismatch } from './replay-errors.ts';

/** One life of an instance. */
interface Owner {
  readonly id: string;
  readonly epoch: number;
}

export interface Claim {
  /** The call's own, or a random one. */
  readonly id: string;
  readonly isCall: boolean;
  readonly place: string;
}

interface ClaimsOptions {
  readonly sql: Sql;
  readonly owner: Owner;
  readonly log: Pick<Log, 'warn'>;
  /** For how long a name is taken after its request ended, and at most while it runs. */
  readonly replayMs: number;
  readonly runningMs: number;
}

/** A claim is waited for no longer. */
const TAKE_MS = 2_000;
/** That it ended or was released may be told later; until then, or until it runs out, others take it for running. */
const TELL_MS = 60_000;
const SWEEPS_PER_LIFE = 10;
/** A statement that was given up is executed within this or never: a connection that is silent for so long is closed. */
const LATE_MS = 30_000;
/** A flood of names must not queue up before the ledger's own statements. */
const STATEMENTS_AT_ONCE = 4;
/** Another gateway may release a name between two looks at it. */
const LOOKS_MAX = 3;

interface Row {
  readonly fingerprint: string;
  readonly id: string;
  readonly isCall: boolean;
  readonly isOwn: boolean;
  readonly state: 'running' | 'ended' | 'lost';
}

export class Claims {
  readonly #options: ClaimsOptions;
  /** What is being told of a place: whoever takes it again waits for that. */
  readonly #telling = new Map<string, Promise<void>>();
  /** Claims whose statement was sent and not answered: they may be there, now or a little later. */
  readonly #unsure = new Set<string>();
  readonly #turns = new Turns(STATEMENTS_AT_ONCE);
  #sweep: ReturnType<typeof setTimeout> | null = null;

  constructor(options: ClaimsOptions) {
    this.#options = options;
  }

  /**
   * Takes the name for this gateway. Throws `idempotency_mismatch`, `request_in_progress`, `answered_elsewhere`, `answer_lost`, and what
   * an absent database makes of a statement: then the name may have been taken, and is to be released.
   */
  async take(claim: Claim, fingerprint: string): Promise<void> {
    const place = digest(claim.place);
    this.#sweep ??= setTimeout(() => void this.#forgetOld(), this.#options.replayMs / SWEEPS_PER_LIFE).unref();
    this.#unsure.add(claim.id);
    const look = async () => {
      await this.#telling.get(place);
      return this.#turns.take(() => this.#look(place, digest(fingerprint), claim));
    };
    const refusal = await withDeadline(look(), TAKE_MS);
    this.#unsure.delete(claim.id);
    if (refusal !== null) throw refusal;
  }

  /** Null: taken. */
  async #look(place: string, fingerprint: string, claim: Claim): Promise<Error | null> {
    for (let look = 0; look < LOOKS_MAX; look++) {
      if (await repeat(() => this.#insert(place, fingerprint, claim), TAKE_MS)) return null;
      const row = await repeat(() => this.#find(place), TAKE_MS);
      if (row === undefined) continue;
      if (!this.#unsure.has(row.id)) return refusalOf(row, fingerprint);
      await repeat(() => this.#free(row.id), TAKE_MS);
    }
    return inProgress();
  }

  /** The request ended, with an answer: the name stays taken. */
  end({ id, place }: Claim): void {
    const { sql, replayMs } = this.#options;
    this.#tell(
      place,
      () => sql`
        update idempotency_claim set state = 'ended', expires_at = now() + ${replayMs}::int * interval '1 millisecond'
        where id = ${id}`,
    );
  }

  /** The request was refused and nothing was charged: the name is free. */
  release({ id, place }: Claim): void {
    this.#tell(place, () => this.#free(id));
    if (!this.#unsure.has(id)) return;
    setTimeout(() => {
      this.#tell(place, () => this.#free(id));
      this.#unsure.delete(id);
    }, LATE_MS).unref();
  }

  #free(id: string): PromiseLike<unknown> {
    return this.#options.sql`delete from idempotency_claim where id = ${id}`;
  }

  /** All is told, and the answers are lost with this process. */
  async close(): Promise<void> {
    if (this.#sweep !== null) clearTimeout(this.#sweep);
    const { sql, owner, log } = this.#options;
    const loseAll = async () => {
      await Promise.all(this.#telling.values());
      await sql`
        update idempotency_claim set state = 'lost'
        where instance_id = ${owner.id} and epoch = ${owner.epoch} and state = 'ended'`;
    };
    await withDeadline(loseAll(), TAKE_MS).catch((error) =>
      log.warn({ err: error }, 'the database was not told which answers are lost: the next start tells it'),
    );
  }

  async #insert(place: string, fingerprint: string, { id, isCall }: Claim): Promise<boolean> {
    const { sql, owner, runningMs } = this.#options;
    // Sent twice it takes the same name once: the id tells.
    const rows = await sql`
      insert into idempotency_claim as claim (place, fingerprint, id, is_call, instance_id, epoch, expires_at)
      values (${place}, ${fingerprint}, ${id}, ${isCall}, ${owner.id}, ${owner.epoch},
        now() + ${runningMs}::int * interval '1 millisecond')
      on conflict (place) do update set fingerprint = excluded.fingerprint, id = excluded.id, is_call = excluded.is_call,
        instance_id = excluded.instance_id, epoch = excluded.epoch, state = 'running', expires_at = excluded.expires_at
      where claim.expires_at <= now() or claim.id = excluded.id
      returning 1`;
    return rows.length > 0;
  }

  async #find(place: string): Promise<Row | undefined> {
    const { sql, owner } = this.#options;
    const [row] = await sql<Row[]>`
      select fingerprint, id, is_call as "isCall", state, (instance_id = ${owner.id} and epoch = ${owner.epoch}) as "isOwn"
      from idempotency_claim where place = ${place}`;
    return row;
  }

  #tell(of: string, statement: () => PromiseLike<unknown>): void {
    const place = digest(of);
    const told = this.#turns
      .take(() => repeat(statement, TELL_MS))
      .catch((error) => this.#options.log.warn({ err: error }, 'the end of a named request was not told'))
      .then(() => {
        if (this.#telling.get(place) === told) this.#telling.delete(place);
      });
    this.#telling.set(place, told);
  }

  async #forgetOld(): Promise<void> {
    this.#sweep = null;
    await this.#options.sql`delete from idempotency_claim where expires_at <= now()`.catch(() => {});
  }
}

/** The claims of a gateway whose ledger is open; what its earlier lives left is settled in the background, after their calls. */
export function openClaims({ config, database, log, waitUntil }: Platform, ledger: LedgerInstance): Claims {
  const { replayMs, totalMs, holdGraceMs } = config.limits;
  const { sql } = database;
  waitUntil(ledger.earlierSettled.then(() => settleClaims(sql, ledger)));
  return new Claims({ sql, owner: ledger, log, replayMs, runningMs: totalMs + holdGraceMs });
}

/**
 * Settles the names that earlier lives of an instance left, whose calls must be settled before: what was not charged is free again, the
 * answers of all else are lost.
 */
export async function settleClaims(sql: Sql, { id, epoch }: Owner): Promise<void> {
  const settle = () => sql`
    with free as (
      delete from idempotency_claim claim
      where instance_id = ${id} and epoch < ${epoch} and is_call
        and not exists (select from call where call.id = claim.id and call.charged_nanousd > 0)
      returning claim.id
    )
    update idempotency_claim set state = 'lost'
    where instance_id = ${id} and epoch < ${epoch} and id not in (select id from free)`;
  await repeat(settle, TELL_MS);
}

/** An answer that ended here and is asked for here was forgotten: memory is bounded. */
function refusalOf({ fingerprint, id, isCall, isOwn, state }: Row, asked: string): Error {
  if (fingerprint !== asked) return mismatch();
  if (state === 'running') return inProgress();
  const callId = isCall ? id : null;
  return state === 'lost' || isOwn ? lost(callId) : elsewhere(callId);
}

function digest(text: string): string {
  return hash('sha256', text, 'base64url');
}
