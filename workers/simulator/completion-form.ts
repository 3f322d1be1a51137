import type { Choice } from './choice.ts';
import type { Logprob } from './logprobs.ts';
import type { Delta } from './speech.ts';

/** What a completions call asked beyond the common form. */
export interface CompletionForm {
  /** The prompt's text, told before the answer; null when not asked. */
  readonly echo: ((choice: Choice) => string) | null;
  /** Logprobs of the prompt's tokens, for echo; the first has none. */
  readonly echoLogprobs:
    | ((choice: Choice) => { logprobs: readonly (Logprob | null)[]; texts: readonly string[] })
    | null;
  /** With `max_tokens: 0` only the echo is told, though one token is generated. */
  readonly echoOnly: boolean;
  readonly promptLogprobs: (choice: Choice) => unknown;
}

/** The text of all deltas: a completion knows no other channels. */
export function textOf(deltas: readonly Delta[]): string {
  return deltas.reduce((sum, delta) => ('text' in delta ? sum + delta.text : sum), '');
}
