/** How long a tenant's answers of a model usually get: the router weighs the time to the first token against the time of all others by it. */
import { remember } from './remember.ts';

/** The estimate follows the length that this share of the answers stay below. */
const QUANTILE = 0.6;
const LONGER = Math.exp(0.1 * QUANTILE);
const SHORTER = Math.exp(0.1 * (QUANTILE - 1));
const FIRST_GUESS_TOKENS = 128;
const KNOWN_MAX = 10_000;

/** Of one tenant's answers of one model. */
export class ExpectedLength {
  /** Null before the first answer. */
  #tokens: number | null = null;

  /** Tokens of one answer, at most those asked for. */
  within(maxTokens: number): number {
    return Math.min(maxTokens, this.#tokens ?? FIRST_GUESS_TOKENS);
  }

  /** One answer was this long. The estimate moves by a share of itself, up or down as the quantile has it. */
  learn(tokens: number): void {
    const known = this.#tokens;
    this.#tokens = Math.max(1, known === null ? tokens : known * (tokens > known ? LONGER : SHORTER));
  }
}

export class ExpectedOutput {
  /** By account, and of each by model. */
  readonly #lengths = new Map<string, Map<string, ExpectedLength>>();

  /** What is known of them, to be asked and told; the accounts that were met first are forgotten first. */
  of(accountId: string, model: string): ExpectedLength {
    const models = this.#lengths.get(accountId);
    const known = models?.get(model);
    if (known !== undefined) return known;
    const length = new ExpectedLength();
    if (models === undefined) remember(this.#lengths, accountId, new Map([[model, length]]), KNOWN_MAX);
    else models.set(model, length);
    return length;
  }
}
