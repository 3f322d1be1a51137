/** How long a tenant's answers of a model usually get: the router weighs the time to the first token against the time of all others by it. */
import { remember } from './remember.ts';

/** The estimate follows the length that this share of the answers stay below. */
const QUANTILE = 0.6;
const STEP = 0.1;
const FIRST_GUESS_TOKENS = 128;
const KNOWN_MAX = 10_000;

export class ExpectedOutput {
  readonly #tokens = new Map<string, number>();

  /** Tokens of one answer, at most those asked for. */
  of(accountId: string, model: string, maxTokens: number): number {
    return Math.min(maxTokens, this.#tokens.get(place(accountId, model)) ?? FIRST_GUESS_TOKENS);
  }

  /** One answer was this long. The estimate moves by a share of itself, up or down as the quantile has it. */
  learn(accountId: string, model: string, tokens: number): void {
    const at = place(accountId, model);
    const known = this.#tokens.get(at);
    const next = known === undefined ? tokens : known * Math.exp(STEP * (tokens > known ? QUANTILE : QUANTILE - 1));
    remember(this.#tokens, at, Math.max(1, next), KNOWN_MAX);
  }
}

function place(accountId: string, model: string): string {
  return `${accountId} ${model}`;
}
