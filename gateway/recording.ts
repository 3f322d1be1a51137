/**
 * An answer that is kept while it is made. The call writes it once; every caller who asks the same gets the same bytes, those who
 * come late what they missed first.
 */
import { Ending } from '../router/ending.ts';
import { ByteLog } from './byte-log.ts';
import type { Claim } from './claims.ts';
import { CallerLeft, type Head, type Responder } from './exchange.ts';

const REPLAYED = 'idempotent-replayed: true\r\n';

/** Whoever keeps recordings (replays.ts). */
export interface Keeper {
  /** Whether a recording may have this much more memory. */
  grant(recording: Recording, bytes: number): boolean;
  /** The answer has grown beyond what is kept of it. */
  tooLong(recording: Recording): void;
  /** The answer ended, or was a refusal. */
  ended(recording: Recording): void;
  /** The answer can be given to nobody any more. */
  forget(recording: Recording): void;
}

export interface RecordingRules {
  /** For so long a call without a key whose caller left waits for a retry, which is charged in its place. */
  readonly rejoinMs: number;
  /** A caller without a key who was sent more than this of a stream has its head, and no client asks again after the head. */
  readonly lostHeadBytes: number;
}

/** What the keeper knows of a recording. */
export interface Entry {
  /** Where it is found. */
  readonly place: string;
  /** The caller named the request, and so may come back at any time: the call goes on to its end without it. */
  readonly keyed: boolean;
  /** The name is some caller's own, so that other gateways must hear of it. */
  readonly named: boolean;
  readonly fingerprint: string;
  /** The highest retry count that it answered: one client's count only grows, another client's begins at 0 again. */
  retries: number;
  /** Memory of its bytes. */
  bytes: number;
  endedAtMs: number;
  /** What was told to other gateways and is not settled yet. */
  claim: Claim | null;
}

/** `lost`: its caller left and may have seen nothing. `refused`: nothing was charged, to ask again is a new call. */
type State = 'running' | 'lost' | 'refused' | 'ended';

export class Recording implements Responder {
  readonly control = new Ending();
  readonly entry: Entry;
  readonly #keeper: Keeper;
  readonly #rules: RecordingRules;
  /** The callers now, each with the lines that its head has beyond the answer's own. */
  readonly #callers = new Map<Responder, string>();
  #state: State = 'running';
  #head: Head | null = null;
  #log: ByteLog | null = new ByteLog();
  #keptBytes = 0;
  #missed = false;
  #onDrain: () => void = () => {};
  readonly #again = Promise.withResolvers<boolean>();

  constructor(keeper: Keeper, rules: RecordingRules, entry: Entry) {
    this.#keeper = keeper;
    this.#rules = rules;
    this.entry = entry;
  }

  get state(): State {
    return this.#state;
  }

  get headSent(): boolean {
    return this.#head !== null;
  }

  /** Nobody reads it, or nobody read it to its end. */
  get unattended(): boolean {
    return this.#state === 'ended' ? this.#missed : this.#callers.size === 0;
  }

  /** Its bytes from the first on are there. */
  get replayable(): boolean {
    return this.#log !== null;
  }

  head(head: Head): void {
    this.#head = head;
    for (const [caller, own] of this.#callers) caller.head({ ...head, lines: head.lines + own });
  }

  /** The fastest caller sets the pace: one whose line is dead, not yet known to have left, must not hold up the others. */
  write(bytes: Uint8Array | string): boolean {
    this.#record(bytes, this.entry.keyed ? Number.POSITIVE_INFINITY : this.#rules.lostHeadBytes);
    let ready = this.#callers.size === 0;
    for (const caller of this.#callers.keys()) ready = caller.write(bytes) || ready;
    return ready;
  }

  onDrain(listener: () => void): void {
    this.#onDrain = listener;
  }

  end(bytes?: Uint8Array | string): void {
    if (bytes !== undefined) this.#record(bytes, Number.POSITIVE_INFINITY);
    this.#missed = this.#callers.size === 0;
    for (const caller of this.#callers.keys()) caller.end(bytes);
    this.#callers.clear();
    if (this.#state !== 'refused') this.#state = 'ended';
    if (this.#log === null) this.#keeper.forget(this);
    else this.#keeper.ended(this);
  }

  /** Answers the caller who asked first. */
  begin(caller: Responder): void {
    this.#admit(caller, '');
  }

  /** Gives a further caller the same answer: what there is of it now, the rest as it comes. */
  attach(caller: Responder): void {
    const head = this.#head;
    if (head !== null) caller.head({ ...head, lines: head.lines + REPLAYED });
    for (const page of this.#log?.read() ?? []) caller.write(page);
    this.#missed = false;
    this.#admit(caller, REPLAYED);
    if (this.#state !== 'ended') return;
    this.#callers.delete(caller);
    caller.end();
  }

  /** Nothing was charged: who waits now is told so, who asks again is served anew. */
  refuse(): void {
    this.#state = 'refused';
  }

  /** Lets go of the bytes; callers that are there still get the rest. */
  discard(): void {
    this.#log = null;
  }

  /** Tells a lost call that its caller is here again and another call is charged. */
  replace(): void {
    this.#again.resolve(true);
  }

  async askedAgain(): Promise<boolean> {
    if (this.#state !== 'lost') return false;
    const timer = setTimeout(() => this.#again.resolve(false), this.#rules.rejoinMs);
    const again = await this.#again.promise;
    clearTimeout(timer);
    this.#keeper.forget(this);
    return again;
  }

  #admit(caller: Responder, own: string): void {
    this.#callers.set(caller, own);
    caller.onDrain(() => this.#onDrain());
    const { signal } = caller.control;
    if (signal.aborted) this.#left(caller);
    else signal.addEventListener('abort', () => this.#left(caller));
  }

  #left(caller: Responder): void {
    this.#callers.delete(caller);
    if (this.#state === 'ended') this.#missed = true;
    if (this.#state !== 'running') return;
    // It may have been the one that the others waited for.
    this.#onDrain();
    if (this.#callers.size > 0 || (this.entry.keyed && this.replayable)) return;
    if (this.replayable) this.#lose();
    else this.#giveUp();
  }

  /** The worker is let go at once: whether its caller gave up or lost the connection, nobody can tell yet. */
  #lose(): void {
    this.#state = 'lost';
    this.control.abort(new CallerLeft());
  }

  #giveUp(): void {
    this.#keeper.forget(this);
    this.control.abort(new CallerLeft());
  }

  /** Keeps bytes, unless that makes more than `bytesMax` or than there is memory for: then none are kept at all. */
  #record(bytes: Uint8Array | string, bytesMax: number): void {
    if (this.#log === null) return;
    const data = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
    const growth = this.#log.growth(data.length);
    this.#keptBytes += data.length;
    if (this.#keptBytes <= bytesMax && (growth === 0 || this.#keeper.grant(this, growth))) {
      this.#log.append(data);
      return;
    }
    this.#keeper.tooLong(this);
    if (this.#callers.size === 0) this.#giveUp();
  }
}
