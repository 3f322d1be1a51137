/**
 * One try on one worker: sends the call, judges what comes, and ends in exactly one way. Up to the first content every
 * failure is the dispatcher's to retry; from then on events go to the relay and a failure is final.
 */
import { type StreamEvent, StreamReader } from './answer.ts';
import { type AttemptLimits, type AttemptRequest, headersOf } from './attempt-request.ts';
import { Deadline } from './deadline.ts';
import type { EndSignal } from './ending.ts';
import { type Fault, fault, type RefusalStatus, type WorkerError } from './fault.ts';
import type { Fleet } from './fleet.ts';
import type { Outbound, OutboundCall, OutboundSink } from './outbound.ts';
import type { Reservation } from './reservation.ts';
import { MAX_FRAME_BYTES } from './sse.ts';
import { type StreamSource, StreamTail } from './stream.ts';
import { type WholeEnd, type WholeExpectation, WholeReader } from './whole.ts';

/** Times of one attempt, in ms of the fleet's monotonic clock; `lastByteAt` moves on while the stream runs. */
export interface AttemptTimes {
  dispatchedAt: number;
  /** Whether the request has left: before that, nobody owes anything. */
  sent: boolean;
  /** Whole answers: their first byte. */
  firstContentAt: number | null;
  lastByteAt: number | null;
}

export type AttemptEnd =
  | { readonly kind: 'stream'; readonly first: readonly StreamEvent[]; readonly rest: StreamSource }
  | Extract<WholeEnd, { kind: 'whole' | 'refused' }>
  | { readonly kind: 'fault'; readonly fault: Fault }
  | { readonly kind: 'aborted' };

/** How long a complete stream may keep its connection before it is closed. */
const LINGER_MS = 1000;

export class Attempt implements OutboundSink {
  readonly times: AttemptTimes;
  readonly #fleet: Fleet;
  readonly #reservation: Reservation;
  readonly #request: AttemptRequest;
  readonly #limits: AttemptLimits;
  readonly #deadline: Deadline;
  #call: OutboundCall | null = null;
  /** What reads the answer, from its head on: a stream of events, or a whole body; errors always come whole. */
  #reader: StreamReader | WholeReader | null = null;
  /** Events before the first content: held back, so that another worker can still be tried. */
  readonly #held: StreamEvent[] = [];
  #heldBytes = 0;
  #tail: StreamTail | null = null;
  #paused = false;
  #over = false;
  #resolve: (end: AttemptEnd) => void = () => {};
  #signal: EndSignal | null = null;
  /**
   * No closure that `run` assigns to a field: V8 takes such a literal for a method and makes it old from its birth, so that it, and with it all
   * of the call, stays until the next full collection.
   */
  readonly #leave = () => this.#abort(this.#signal?.reason);

  constructor(fleet: Fleet, reservation: Reservation, request: AttemptRequest, limits: AttemptLimits) {
    this.#fleet = fleet;
    this.#reservation = reservation;
    this.#request = request;
    this.#limits = limits;
    this.#deadline = new Deadline(fleet.now, () => this.#expire());
    this.times = { dispatchedAt: fleet.now(), sent: false, firstContentAt: null, lastByteAt: null };
  }

  /**
   * Sends. Resolves at the first content, or with the end; the reservation is given back whichever way it ends. The signal
   * stays in force until the attempt is over, committed or not.
   */
  run(outbound: Outbound, signal: EndSignal): Promise<AttemptEnd> {
    const { worker } = this.#reservation;
    const { connectMs } = this.#limits;
    this.#signal = signal;
    signal.addEventListener('abort', this.#leave);
    return new Promise((resolve) => {
      this.#resolve = resolve;
      const target = worker.target(this.#request.path, this.#request.stream ? 'stream' : 'whole');
      const headers = headersOf(this.#request, this.times.dispatchedAt);
      this.#call = outbound({ target, method: 'POST', headers, body: this.#request.body, connectMs }, this);
    });
  }

  onSent(): void {
    if (this.#over) return;
    this.times.dispatchedAt = this.#fleet.now();
    this.times.sent = true;
    if (!this.#request.stream && !this.#isEmbedding) return;
    this.#deadline.set(this.times.dispatchedAt + this.#limits.firstContentMs);
  }

  onHead(status: number, contentType: string): void {
    if (this.#over) return;
    if (status !== 200 || !this.#request.stream) {
      this.#reader = new WholeReader(status, this.#expected);
      this.#rearm();
      return;
    }
    this.#reader = new StreamReader(this.#reservation.model, this.#reservation.work.sequences);
    if (!contentType.startsWith('text/event-stream'))
      this.#fail(fault('malformed', `a stream was answered with ${contentType || 'no content-type'}`));
  }

  onData(chunk: Uint8Array): void {
    if (this.#over) return;
    const nowMs = this.#fleet.now();
    this.times.lastByteAt = nowMs;
    if (this.#reader instanceof StreamReader) this.#read(this.#reader, chunk);
    else if (this.#reader !== null) this.#collect(this.#reader, chunk, nowMs);
  }

  onEnd(): void {
    if (this.#over) this.#deadline.clear();
    else if (this.#reader instanceof WholeReader) this.#endWhole(this.#reader.end());
    else this.#fail(fault('cut_off', 'the stream ended without [DONE]'));
  }

  onError(error: Error): void {
    if (this.#over) this.#deadline.clear();
    else this.#fail(fault(this.#reader !== null ? 'cut_off' : this.times.sent ? 'reset' : 'connect', error.message));
  }

  /** The answer was complete, with so many tokens in each sequence as the gateway counts; see `Reservation.answered`. */
  answered(tokens: number, cachedTokens: number | null): void {
    const { dispatchedAt, firstContentAt, lastByteAt } = this.times;
    if (lastByteAt === null || this.#isEmbedding) return;
    const firstMs = this.#request.stream && firstContentAt !== null ? firstContentAt - dispatchedAt : null;
    const seen = { tokens, elapsedMs: lastByteAt - dispatchedAt, firstMs, cachedTokens };
    this.#reservation.answered(seen, lastByteAt);
  }

  /** Another worker, asked beside this one, was sooner: what was waited teaches, and nobody is blamed. */
  outrun(): void {
    this.#reservation.outrun(this.#elapsedMs, this.#fleet.now());
    this.#abort(new Error('outrun'));
  }

  /** Since dispatch. */
  get #elapsedMs(): number {
    return this.#fleet.now() - this.times.dispatchedAt;
  }

  /** The answer must name the model, and finish so many choices (or bring so many embeddings). */
  get #expected(): WholeExpectation {
    const { model, work } = this.#reservation;
    return { path: this.#request.path, model, sequences: work.sequences };
  }

  get #isEmbedding(): boolean {
    return this.#request.path.endsWith('/embeddings');
  }

  #read(reader: StreamReader, chunk: Uint8Array): void {
    const { events, end } = reader.read(chunk);
    if (this.#tail === null) this.#hold(events, chunk.length, end?.kind === 'complete');
    else this.#pass(this.#tail, events);
    if (end?.kind === 'complete') this.#complete();
    else if (end?.kind === 'broken') this.#fail(end.fault);
    else if (end?.kind === 'refused') this.#refuse(end.status, end.error);
  }

  #pass(tail: StreamTail, events: readonly StreamEvent[]): void {
    this.#rearm();
    if (events.length > 0) tail.push(events);
  }

  /** Before the first content; a proper end commits too, for an answer may be empty. */
  #hold(events: readonly StreamEvent[], bytes: number, complete: boolean): void {
    this.#held.push(...events);
    this.#heldBytes += bytes;
    const hasContent = events.some(({ content }) => content);
    if (hasContent || complete) this.#commit(hasContent);
    else if (this.#heldBytes > MAX_FRAME_BYTES) this.#fail(fault('malformed', 'too much before the first content'));
  }

  /** The point of no return: what is held goes to the relay, and no other worker will be tried. */
  #commit(hasContent: boolean): void {
    if (hasContent) {
      this.times.firstContentAt = this.#fleet.now();
      this.#reservation.firstContent(this.#elapsedMs, this.#fleet.now());
      this.#fleet.begun(this.#reservation.worker, this.#reservation.model);
    }
    this.#tail = new StreamTail({
      pause: () => this.#pause(),
      resume: () => this.#resume(),
      abort: (reason) => this.#abort(reason),
    });
    this.#rearm();
    this.#resolve({ kind: 'stream', first: this.#held, rest: this.#tail });
  }

  #complete(): void {
    if (!this.#close()) return;
    this.#fleet.good(this.#reservation.worker);
    this.#deadline.set(this.#fleet.now() + LINGER_MS);
    this.#tail?.end({ kind: 'complete' });
  }

  #collect(reader: WholeReader, chunk: Uint8Array, nowMs: number): void {
    this.#rearm(nowMs);
    this.times.firstContentAt ??= nowMs;
    const tooLong = reader.read(chunk);
    if (tooLong !== null) this.#fail(tooLong);
  }

  #endWhole(end: WholeEnd): void {
    if (end.kind === 'broken') {
      this.#fail(end.fault);
    } else if (end.kind === 'refused') {
      this.#refuse(end.status, end.error);
    } else if (this.#close()) {
      if (this.#isEmbedding) this.#reservation.firstContent(this.#elapsedMs, this.#fleet.now());
      this.#fleet.good(this.#reservation.worker);
      this.#resolve(end);
    }
  }

  /** The request itself is wrong, says the worker: nobody is blamed. Once content has come, that is no excuse. */
  #refuse(status: RefusalStatus, error: WorkerError): void {
    if (this.#tail !== null) {
      this.#fail(fault('error_event', error.message));
    } else if (this.#close()) {
      this.#call?.abort(new Error('refused'));
      this.#resolve({ kind: 'refused', status, error });
    }
  }

  #fail(failure: Fault): void {
    if (!this.#close()) return;
    this.#fleet.blame(this.#reservation.worker, failure, this.#reservation.model);
    this.#call?.abort(new Error(failure.reason));
    if (this.#tail !== null) {
      this.#tail.end({ kind: 'broken', fault: failure });
    } else {
      if (failure.reason !== 'load') this.#reservation.failed(this.#elapsedMs, this.#fleet.now());
      this.#resolve({ kind: 'fault', fault: failure });
    }
  }

  /** The caller has left, or its time is over: closes the connection; nobody is blamed. */
  #abort(reason: unknown): void {
    if (!this.#close()) return;
    this.#call?.abort(reason instanceof Error ? reason : new Error('aborted'));
    if (this.#tail === null) this.#resolve({ kind: 'aborted' });
    else this.#tail.end({ kind: 'aborted', reason });
  }

  /** Ends the attempt, once: true for the one who may say how. */
  #close(): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.#deadline.clear();
    this.#signal?.removeEventListener('abort', this.#leave);
    this.#reservation.release(this.#fleet.now());
    this.#fleet.room.freed(this.#reservation.model);
    return true;
  }

  #pause(): void {
    if (this.#over) return;
    this.#paused = true;
    this.#deadline.clear();
    this.#call?.pause();
  }

  #resume(): void {
    if (this.#over) return;
    this.#paused = false;
    this.#rearm();
    this.#call?.resume();
  }

  /** From here on silence is bounded by the idle limit, but for silence of our own making. */
  #rearm(nowMs = this.#fleet.now()): void {
    if (this.#paused) return;
    this.#deadline.set(nowMs + this.#limits.idleMs);
  }

  #expire(): void {
    const { firstContentMs, idleMs } = this.#limits;
    if (this.#over) {
      this.#call?.abort(new Error('the worker kept the connection after its answer'));
    } else if (this.#reader === null || (this.#reader instanceof StreamReader && this.#tail === null)) {
      this.#fail(fault('first_content_timeout', `no content within ${firstContentMs} ms`));
    } else {
      this.#fail(fault('idle_timeout', `silent for ${idleMs} ms in mid-answer`));
    }
  }
}
