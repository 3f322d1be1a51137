/** The router's choices of the latest calls of this gateway, for whoever asks why a call went where it went. */
import type { Choices } from './routing-view.ts';

const CALLS_MAX = 1_000;

export class ChoiceMemory {
  /** A ring: remembering is on the path of every call, and looking up is rare. */
  readonly #calls: { readonly id: string; readonly choices: Choices }[] = [];
  #next = 0;

  /** What the call's list holds now and gains later is remembered until a thousand others have come. */
  note(id: string, choices: Choices): void {
    this.#calls[this.#next] = { id, choices };
    this.#next = (this.#next + 1) % CALLS_MAX;
  }

  of(callId: string): Choices | undefined {
    return this.#calls.find(({ id }) => id === callId)?.choices;
  }
}
