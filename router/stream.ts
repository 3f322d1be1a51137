/** What is left of a stream after its first content: handed to the relay, which subscribes. */
import type { StreamEvent } from './answer.ts';
import type { Fault } from './fault.ts';

/** How a committed stream ended. A broken one is never retried: content has left. */
export type StreamOutcome =
  | { readonly kind: 'complete' } // every choice finished and [DONE] came
  | { readonly kind: 'broken'; readonly fault: Fault }
  | { readonly kind: 'aborted'; readonly reason: unknown }; // by `abort` or by the request's signal

export interface StreamSubscriber {
  /** The events that one read brought, never an empty list; an event that breaks the stream is not among them. */
  onEvents(events: readonly StreamEvent[]): void;
  /** Called exactly once, last. */
  onEnd(outcome: StreamOutcome): void;
}

/** The rest of a stream. */
export interface StreamSource {
  /** Once. What came before is handed over at once, in this call. */
  subscribe(subscriber: StreamSubscriber): void;
  /** Reads no more until `resume`; the idle limit rests meanwhile, for the waiting is ours. */
  pause(): void;
  resume(): void;
  /** Closes the upstream connection; the subscriber hears `aborted` unless the stream has ended. */
  abort(reason: Error): void;
}

/** What a stream's tail does to the attempt behind it. */
export interface TailControl {
  pause(): void;
  resume(): void;
  abort(reason: unknown): void;
}

/** Holds what comes until there is a subscriber, and stops reading meanwhile. */
export class StreamTail implements StreamSource {
  readonly #control: TailControl;
  #subscriber: StreamSubscriber | null = null;
  #waiting: StreamEvent[] = [];
  #outcome: StreamOutcome | null = null;
  #pausedBySubscriber = false;

  constructor(control: TailControl) {
    this.#control = control;
  }

  push(events: readonly StreamEvent[]): void {
    if (this.#subscriber !== null) {
      this.#subscriber.onEvents(events);
    } else {
      if (this.#waiting.length === 0) this.#control.pause();
      this.#waiting.push(...events);
    }
  }

  end(outcome: StreamOutcome): void {
    this.#outcome = outcome;
    this.#subscriber?.onEnd(outcome);
  }

  subscribe(subscriber: StreamSubscriber): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#subscriber = subscriber;
    const outcome = this.#outcome;
    if (waiting.length > 0) subscriber.onEvents(waiting);
    if (outcome !== null) subscriber.onEnd(outcome);
    else if (waiting.length > 0 && !this.#pausedBySubscriber) this.#control.resume();
  }

  pause(): void {
    this.#pausedBySubscriber = true;
    this.#control.pause();
  }

  resume(): void {
    this.#pausedBySubscriber = false;
    this.#control.resume();
  }

  abort(reason: Error): void {
    this.#control.abort(reason);
  }
}
