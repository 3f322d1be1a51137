/** The router's latest choices in this gateway, for whoever asks why a call went where it went. */
import { Candidates } from '../router/candidates.ts';
import type { Choices } from './routing-view.ts';

const CHOICES_MAX = 1_000;

export class ChoiceMemory {
  /**
   * A ring: remembering is on the path of every call, and looking up is rare. Its places are written over: a thousand choices that the collector
   * finds alive each time it comes by were most of what it had to move.
   */
  readonly #latest: { callId: string; readonly candidates: Candidates }[] = [];
  #next = 0;

  /** One choice, for a call or for its retry. */
  note(callId: string, candidates: Candidates): void {
    const place = this.#latest[this.#next] ?? { callId, candidates: new Candidates([]) };
    place.callId = callId;
    place.candidates.become(candidates);
    this.#latest[this.#next] = place;
    this.#next = (this.#next + 1) % CHOICES_MAX;
  }

  /** The choices for a call, in their order; undefined when none is remembered. */
  of(callId: string): Choices | undefined {
    const inOrder = [...this.#latest.slice(this.#next), ...this.#latest.slice(0, this.#next)];
    const own = inOrder.filter((choice) => choice.callId === callId).map(({ candidates }) => candidates);
    return own.length === 0 ? undefined : own;
  }
}
