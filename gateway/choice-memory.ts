/** The router's choices of the latest calls of this gateway, for whoever asks why a call went where it went. */
import type { Candidate } from '../router/refusal.ts';
import { remember } from './remember.ts';
import type { Choices } from './routing-view.ts';

const CALLS_MAX = 1_000;

export class ChoiceMemory {
  readonly #calls = new Map<string, Choices>();

  /** One choice, for a call or for its retry. */
  note(callId: string, candidates: readonly Candidate[]): void {
    const earlier = this.#calls.get(callId);
    if (earlier === undefined) remember(this.#calls, callId, [candidates], CALLS_MAX);
    else earlier.push(candidates);
  }

  of(callId: string): Choices | undefined {
    return this.#calls.get(callId);
  }
}
