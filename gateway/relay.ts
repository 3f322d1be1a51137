/**
 * Passes an answer on. A stream's bytes leave as they came, in one write per read, but for the usage that the caller did
 * not ask for; the usage chunk and [DONE] wait until the charge is safe, the first token never does.
 */
import type { StreamEvent } from '../router/answer.ts';
import { Deadline } from '../router/deadline.ts';
import type { Dispatched } from '../router/dispatch.ts';
import type { StreamOutcome } from '../router/stream.ts';
import type { Call } from './call.ts';
import { JSON_TYPE, linesOf, STREAM_TYPE } from './call-lines.ts';
import { type ApiError, apiError, errorBody } from './errors.ts';
import { DeadlineExceeded, Draining, type Responder } from './exchange.ts';
import { chargeMembers, cutUsage, withCharge } from './usage-text.ts';

/** The head of a stream: it leaves with the first content, or after a while of waiting with a comment line. */
export class StreamHead {
  readonly #exchange: Responder;
  readonly #call: Call;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(exchange: Responder, call: Call) {
    this.#exchange = exchange;
    this.#call = call;
    if (call.request.stream) this.#wait(call.limits.headWaitMs);
  }

  stopWaiting(): void {
    clearTimeout(this.#timer);
  }

  #wait(ms: number): void {
    this.#timer = setTimeout(() => {
      sendStreamHead(this.#exchange, this.#call);
      this.#exchange.write(': waiting for a worker\n\n');
      this.#wait(this.#call.limits.keepAliveMs);
    }, ms);
  }
}

function sendStreamHead(exchange: Responder, call: Call): void {
  if (!exchange.headSent) exchange.head({ status: 200, lines: paidLines(call, STREAM_TYPE) });
}

/** Of the head of what its payer is charged for: with what it is told of that. */
function paidLines(call: Call, type: string): string {
  return linesOf(call, type, call.fare.receipt(call.chargedNanousd));
}

/** A whole answer: charged first, because its price is inside it. */
export async function deliverWhole(
  exchange: Responder,
  call: Call,
  whole: Extract<Dispatched, { kind: 'whole' }>,
): Promise<void> {
  call.meter.observeWhole(whole.answer);
  await call.close('complete', { billable: true });
  const body = charged(whole.text, call);
  // What is added is ASCII too.
  const bytes = whole.isAscii ? body.length : Buffer.byteLength(body);
  exchange.head({ status: 200, lines: paidLines(call, JSON_TYPE), bytes });
  exchange.end(body);
}

/** The rest of a stream whose first content has come. Resolves when its last byte was handed over and the call is closed. */
export function relayStream(
  exchange: Responder,
  call: Call,
  stream: Extract<Dispatched, { kind: 'stream' }>,
): Promise<void> {
  sendStreamHead(exchange, call);
  return new Promise((resolve, reject) => {
    const relay = new StreamRelay(exchange, call, stream);
    relay.run((outcome) => relay.finish(outcome).then(resolve, reject));
  });
}

class StreamRelay {
  readonly #exchange: Responder;
  readonly #call: Call;
  readonly #stream: Extract<Dispatched, { kind: 'stream' }>;
  /** What has come and is to leave. */
  #due = '';
  #flushIsDue = false;
  #usageEvent: StreamEvent | null = null;
  #doneText = '';
  /** When the caller has heard nothing for long. */
  readonly #silence: Deadline;
  readonly #flushNow = () => this.#flush();

  constructor(exchange: Responder, call: Call, stream: Extract<Dispatched, { kind: 'stream' }>) {
    this.#exchange = exchange;
    this.#call = call;
    this.#stream = stream;
    this.#silence = new Deadline(call.now, () => this.#comment());
    this.#spoke(call.now());
  }

  run(onEnd: (outcome: StreamOutcome) => void): void {
    this.#exchange.onDrain(() => this.#stream.rest.resume());
    this.#pass(this.#stream.first);
    this.#stream.rest.subscribe({ onEvents: (events) => this.#pass(events), onEnd });
  }

  /** Charges, then lets the end of the stream go. */
  async finish(outcome: StreamOutcome): Promise<void> {
    const error = errorOf(outcome);
    const callerLeft = outcome.kind === 'aborted' && error === null;
    if (callerLeft) this.#due = '';
    else this.#flush();
    this.#silence.clear();
    if (outcome.kind === 'complete') {
      await this.#call.close('complete', { billable: true });
      this.#exchange.end(this.#lastEvents());
      return;
    }
    if (callerLeft) {
      const again = await this.#exchange.askedAgain?.();
      return this.#call.close('aborted', { billable: again !== true });
    }
    await this.#call.close('failed', { billable: true });
    if (error !== null) this.#exchange.end(`${lateReceipt(this.#call)}data: ${errorBody(error)}\n\ndata: [DONE]\n\n`);
  }

  #pass(events: readonly StreamEvent[]): void {
    const { meter } = this.#call;
    for (const event of events) {
      meter.observeEvent(event);
      this.#take(event);
    }
    if (this.#flushIsDue) return;
    this.#flushIsDue = true;
    queueMicrotask(this.#flushNow);
  }

  #take(event: StreamEvent): void {
    const { includeUsage, continuousUsage } = this.#call.request;
    if (event.kind === 'usage') {
      if (includeUsage) this.#usageEvent = event;
      return;
    }
    if (event.kind === 'done') {
      this.#doneText = event.text;
      return;
    }
    const asked = includeUsage && continuousUsage;
    this.#due += event.usage === null || asked ? event.text : bare(event);
  }

  /** Once for all frames that one read off the worker's socket brought: what costs is the write, not the bytes. */
  #flush(): void {
    this.#flushIsDue = false;
    const due = this.#due;
    if (due === '') return;
    this.#due = '';
    if (!this.#exchange.write(due)) this.#stream.rest.pause();
    const nowMs = this.#call.now();
    this.#call.noteProgress(nowMs);
    this.#spoke(nowMs);
  }

  #lastEvents(): string {
    const usage = this.#usageEvent === null ? '' : charged(this.#usageEvent.text, this.#call);
    return usage + lateReceipt(this.#call) + this.#doneText;
  }

  #comment(): void {
    this.#exchange.write(': the worker is silent\n\n');
    this.#spoke(this.#call.now());
  }

  #spoke(nowMs: number): void {
    this.#silence.set(nowMs + this.#call.limits.keepAliveMs);
  }
}

/**
 * The payment response of a stream whose head could not say yet what is charged, as a comment before its end: who looks for it finds it,
 * and everybody else's parser skips it.
 */
export function lateReceipt({ fare, chargedNanousd }: Call): string {
  const [then, now] = [fare.receipt(null), fare.receipt(chargedNanousd)].map((headers) => headers['payment-response']);
  return now === undefined || now === then ? '' : `: payment-response ${now}\n\n`;
}

/** An answer, or the usage of a stream, with what it cost. */
function charged(text: string, call: Call): string {
  return withCharge(text, chargeMembers(call)) ?? text;
}

/** The event without its usage, cut out of its own text where that is possible. */
function bare(event: StreamEvent): string {
  return cutUsage(event.text) ?? `data: ${JSON.stringify({ ...event.chunk, usage: undefined })}\n\n`;
}

/** What a caller who is still there must be told. */
function errorOf(outcome: StreamOutcome): ApiError | null {
  if (outcome.kind === 'complete') return null;
  return outcome.kind === 'broken' ? brokenStream() : endedByUs(outcome.reason);
}

function brokenStream(): ApiError {
  return apiError('worker_failed', 'The worker broke off in mid-answer. What was delivered is charged, no more.');
}

/** Null when it was the caller who left: nobody is there to be told. */
function endedByUs(reason: unknown): ApiError | null {
  if (reason instanceof DeadlineExceeded) {
    return apiError('deadline_exceeded', 'The longest time of a call is over. What was delivered is charged, no more.');
  }
  if (reason instanceof Draining) {
    return apiError('overloaded', 'This gateway is shutting down. What was delivered is charged, no more.');
  }
  return null;
}
