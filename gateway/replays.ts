/**
 * One request, one call, however often its caller asks. A caller names a request by `Idempotency-Key`; the stock OpenAI clients name
 * none but say by `X-Stainless-Retry-Count` that they ask again. Either way a copy is given the answer of the first, as it is made
 * or after it ended, and the first alone is charged.
 */
import { hash, randomUUID } from 'node:crypto';
import type { Claims } from './claims.ts';
import type { Limits } from './config.ts';
import type { Exchange, Responder } from './exchange.ts';
import { Fifo } from './fifo.ts';
import { type Entry, type Keeper, Recording } from './recording.ts';
import { badKey, inProgress, KEY_LENGTH_MAX, mismatch } from './replay-errors.ts';

type ReplayLimits = Pick<Limits, 'replayMs' | 'replayBytes' | 'rejoinMs' | 'lostHeadBytes' | 'attempts'>;

/** What makes two requests the same. */
export interface Asked {
  /** Copies of one caller never meet those of another. */
  readonly keyId: string;
  readonly path: string;
  readonly body: Uint8Array;
  /** The payment beside it: another one makes another request. */
  readonly paymentId?: string | undefined;
  /** A name for the request that came with its payment (x402's `payment-identifier`), where there is no header. */
  readonly name?: string | undefined;
}

/** Counted for each recording beside its bytes. */
const ENTRY_BYTES = 1_024;
const SWEEPS_PER_LIFE = 10;

/** The answers of one gateway process that may be asked for again, in bounded memory and for a bounded time. */
export class Replays implements Keeper {
  readonly #limits: ReplayLimits;
  readonly #now: () => number;
  readonly #claims: Claims | null;
  readonly #keyed = new Map<string, Recording>();
  /** In one place there can be several: two clients with one key may ask the same at once. */
  readonly #unkeyed = new Map<string, Set<Recording>>();
  /** Those that ended, oldest first. Where memory is short, answers without a key go first. */
  readonly #ended = { unkeyed: new Fifo<Recording>(), keyed: new Fifo<Recording>() };
  #bytes = 0;
  #sweeping = false;

  /** `now` is monotonic milliseconds; without `claims` names are this process's alone. */
  constructor(limits: ReplayLimits, now: () => number, claims: Claims | null = null) {
    this.#limits = limits;
    this.#now = now;
    this.#claims = claims;
  }

  /** Memory in use, never above the limit. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Where to write the answer to a request, or null when the answer of an earlier one is on its way to this caller too.
   * Throws `idempotency_mismatch`, `payment_identifier_used`, `request_in_progress` and `invalid_request`.
   */
  join(exchange: Exchange, asked: Asked): Responder | null {
    if (this.#limits.replayBytes === 0) return exchange;
    const key = exchange.header('idempotency-key') ?? asked.name;
    if (key !== undefined) return this.#joinKeyed(exchange, key, asked);
    const retries = exchange.header('x-stainless-retry-count');
    return retries === undefined ? exchange : this.#joinRetry(exchange, retryCount(retries), asked);
  }

  /**
   * To be waited for before anything is done or paid for a request that has a name: no other gateway may serve it. `callId` is null
   * where it is no call. Null: nobody else need be asked. Throws as `Claims.take`.
   */
  claim(answer: Responder, callId: string | null): Promise<void> | null {
    if (this.#claims === null || !(answer instanceof Recording) || !answer.entry.named) return null;
    const { entry } = answer;
    entry.claim = { id: callId ?? randomUUID(), isCall: callId !== null, place: entry.place };
    return this.#claims.take(entry.claim, entry.fingerprint);
  }

  /** Says that the answer to come is a refusal and nothing was charged: whoever asks again is served anew. */
  refuse(answer: Responder): void {
    if (answer instanceof Recording) answer.refuse();
  }

  grant({ entry }: Recording, bytes: number): boolean {
    if (!this.#makeRoom(bytes)) return false;
    this.#bytes += bytes;
    entry.bytes += bytes;
    return true;
  }

  tooLong(recording: Recording): void {
    // A key stays taken until its call has ended.
    if (recording.entry.keyed) this.#empty(recording, ENTRY_BYTES);
    else this.forget(recording);
  }

  ended(recording: Recording): void {
    const { entry, state } = recording;
    this.#settleClaim(entry, state === 'refused');
    if (state === 'refused') {
      if (entry.keyed) {
        this.forget(recording);
        return;
      }
      // That it was refused is all that its retry needs to know.
      this.#empty(recording, ENTRY_BYTES);
    }
    entry.endedAtMs = this.#now();
    (entry.keyed ? this.#ended.keyed : this.#ended.unkeyed).push(recording);
    if (!this.#sweeping) this.#sweepLater();
  }

  forget(recording: Recording): void {
    const { place } = recording.entry;
    this.#settleClaim(recording.entry, recording.state === 'refused');
    this.#empty(recording, 0);
    if (this.#keyed.get(place) === recording) this.#keyed.delete(place);
    const alike = this.#unkeyed.get(place);
    if (alike?.delete(recording) && alike.size === 0) this.#unkeyed.delete(place);
  }

  #joinKeyed(exchange: Exchange, key: string, asked: Asked): Responder | null {
    if (key.length === 0 || key.length > KEY_LENGTH_MAX) throw badKey();
    const place = `${asked.keyId} ${key}`;
    const fingerprint = fingerprintOf(asked);
    const first = this.#keyed.get(place);
    // What nobody pays for need not be known to other gateways.
    const named = asked.keyId !== '';
    if (first === undefined) return this.#begin(exchange, { place, keyed: true, named, fingerprint, retries: 0 });
    if (first.entry.fingerprint !== fingerprint) throw mismatch(exchange.header('idempotency-key') !== undefined);
    // A stream that has begun can be joined; what has no head yet may be long in coming, unless nobody waits for it any more.
    const joinable = first.replayable && (first.state === 'ended' || first.headSent || first.unattended);
    if (!joinable) throw inProgress();
    first.attach(exchange);
    return null;
  }

  /** Tells the other gateways, once, how a named request ended. */
  #settleClaim(entry: Entry, isFree: boolean): void {
    const { claim } = entry;
    if (claim === null) return;
    entry.claim = null;
    if (isFree) this.#claims?.release(claim);
    else this.#claims?.end(claim);
  }

  #joinRetry(exchange: Exchange, retries: number, asked: Asked): Responder | null {
    const place = fingerprintOf(asked);
    const first = retries === 0 ? undefined : this.#repeated(place, retries);
    if (first?.state === 'running' || first?.state === 'ended') {
      first.entry.retries = retries;
      first.attach(exchange);
      return null;
    }
    if (first?.state === 'lost') first.replace();
    if (first !== undefined) this.forget(first);
    return this.#begin(exchange, { place, keyed: false, named: false, fingerprint: place, retries });
  }

  /** What a retry repeats: rather a call whose caller left than one that was refused, and rather that than one that was answered. */
  #repeated(place: string, retries: number): Recording | undefined {
    const earlier = [...(this.#unkeyed.get(place) ?? [])].filter(({ entry, state }) => {
      // Each lost head costs its worker a prompt for nothing: not without end.
      return entry.retries < retries && (state !== 'lost' || retries < this.#limits.attempts);
    });
    const left = earlier.find(({ state, unattended }) => state !== 'refused' && unattended);
    return left ?? earlier.find(({ state }) => state === 'refused') ?? earlier[0];
  }

  /** A new recording, or the exchange itself where there is no memory for one. */
  #begin(exchange: Exchange, known: Pick<Entry, 'place' | 'keyed' | 'named' | 'fingerprint' | 'retries'>): Responder {
    if (!this.#makeRoom(ENTRY_BYTES)) return exchange;
    this.#bytes += ENTRY_BYTES;
    const recording = new Recording(this, this.#limits, { ...known, bytes: ENTRY_BYTES, endedAtMs: 0, claim: null });
    if (known.keyed) this.#keyed.set(known.place, recording);
    else this.#unkeyed.set(known.place, (this.#unkeyed.get(known.place) ?? new Set()).add(recording));
    recording.begin(exchange);
    return recording;
  }

  #empty(recording: Recording, leftBytes: number): void {
    recording.discard();
    this.#bytes -= recording.entry.bytes - leftBytes;
    recording.entry.bytes = leftBytes;
  }

  #makeRoom(bytes: number): boolean {
    while (this.#bytes + bytes > this.#limits.replayBytes) {
      const ended = this.#ended.unkeyed.oldest === undefined ? this.#ended.keyed : this.#ended.unkeyed;
      if (ended.oldest === undefined) return false;
      this.forget(ended.oldest);
      ended.drop();
    }
    return true;
  }

  #sweepLater(): void {
    this.#sweeping = true;
    setTimeout(() => this.#sweep(), this.#limits.replayMs / SWEEPS_PER_LIFE).unref();
  }

  /** Forgets what is too old, and goes on until nothing is left. */
  #sweep(): void {
    this.#sweeping = false;
    const oldestMs = this.#now() - this.#limits.replayMs;
    for (const ended of [this.#ended.unkeyed, this.#ended.keyed]) {
      while (ended.oldest !== undefined && ended.oldest.entry.endedAtMs <= oldestMs) {
        this.forget(ended.oldest);
        ended.drop();
      }
      if (ended.oldest !== undefined && !this.#sweeping) this.#sweepLater();
    }
  }
}

function fingerprintOf({ keyId, path, body, paymentId = '' }: Asked): string {
  return `${keyId} ${path} ${paymentId} ${hash('sha256', body, 'base64')}`;
}

function retryCount(header: string): number {
  return /^\d{1,4}$/.test(header) ? Number(header) : 0;
}
