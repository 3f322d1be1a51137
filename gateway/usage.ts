/**
 * Counts what was delivered. The worker's claim is only an upper bound: a token covers at least one byte, so nobody is
 * billed for more tokens than bytes of the model's own words that left, but for the framing that a caller never sees.
 */
import type { StreamEvent } from '../router/answer.ts';

export interface Metered {
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
}

/** Tokens without visible bytes: the end of a sequence, and the opening and closing of a tool call. */
const TOKENS_PER_END = 1;
const TOKENS_PER_TOOL_CALL = 32;

/** Follows one answer. Feed it what is being delivered, and nothing else. */
export class Meter {
  readonly #promptTokensMax: number;
  readonly estimatedPromptTokens: number;
  #claimedPromptTokens: number | null = null;
  #cachedTokens: number | null = null;
  #claimedTotal: number | null = null;
  /** Running claims, one per choice: vLLM's running usage counts the choice of the chunk. */
  #claimedByChoice: Map<number, number> | null = null;
  #tokensMax = 0;
  #askedMax = Number.POSITIVE_INFINITY;
  #contentEvents = 0;

  /** `estimatedPromptTokens` is billed where no worker said a number: a caller left before the first event. */
  constructor(promptTokensMax: number, estimatedPromptTokens: number) {
    this.#promptTokensMax = promptTokensMax;
    this.estimatedPromptTokens = Math.min(estimatedPromptTokens, promptTokensMax);
  }

  /** Whether a worker has said how long the prompt was. */
  get promptKnown(): boolean {
    return this.#claimedPromptTokens !== null;
  }

  /** Tokens of the prompt that the worker says it knew; null when it says nothing. */
  get claimedCachedTokens(): number | null {
    return this.#cachedTokens;
  }

  /** Of all answers together, no more was asked for: no more is billed, whatever is claimed and delivered. */
  limit(completionTokensMax: number): void {
    this.#askedMax = completionTokensMax;
  }

  observeEvent(event: StreamEvent): void {
    if (event.usage !== null) this.#observeUsage(event.usage, event.kind === 'usage' ? null : choiceIndex(event.chunk));
    if (event.chunk === null || event.kind === 'usage') return;
    if (event.content) this.#contentEvents++;
    for (const choice of list(event.chunk.choices)) this.#observeChoice(record(choice));
  }

  observeWhole(answer: Readonly<Record<string, unknown>>): void {
    this.#observeUsage(record(answer.usage), null);
    for (const choice of list(answer.choices)) this.#observeChoice(record(choice));
  }

  read(): Metered {
    const promptTokens = Math.min(this.#claimedPromptTokens ?? this.estimatedPromptTokens, this.#promptTokensMax);
    return {
      promptTokens,
      cachedTokens: Math.min(this.#cachedTokens ?? 0, promptTokens),
      completionTokens: this.completionTokens,
    };
  }

  get completionTokens(): number {
    return Math.min(this.#claimedCompletionTokens(), this.#tokensMax, this.#askedMax);
  }

  #claimedCompletionTokens(): number {
    if (this.#claimedTotal !== null) return this.#claimedTotal;
    if (this.#claimedByChoice === null) return this.#contentEvents;
    let sum = 0;
    for (const tokens of this.#claimedByChoice.values()) sum += tokens;
    return sum;
  }

  #observeUsage(usage: Readonly<Record<string, unknown>>, choice: number | null): void {
    const prompt = count(usage.prompt_tokens);
    if (prompt !== null) this.#claimedPromptTokens = prompt;
    this.#cachedTokens = count(record(usage.prompt_tokens_details).cached_tokens) ?? this.#cachedTokens;
    const completion = count(usage.completion_tokens);
    if (completion === null) return;
    if (choice === null) {
      this.#claimedTotal = completion;
      return;
    }
    this.#claimedByChoice ??= new Map();
    this.#claimedByChoice.set(choice, Math.max(completion, this.#claimedByChoice.get(choice) ?? 0));
  }

  #observeChoice(choice: Readonly<Record<string, unknown>>): void {
    const said = record(choice.delta ?? choice.message);
    this.#tokensMax += bytesOf(choice.text) + bytesOf(said.content) + bytesOf(said.refusal);
    this.#tokensMax += bytesOf(said.reasoning ?? said.reasoning_content);
    for (const call of list(said.tool_calls)) {
      const { id, function: named } = record(call);
      const { name, arguments: written } = record(named);
      this.#tokensMax += bytesOf(name) + bytesOf(written) + (id === undefined ? 0 : TOKENS_PER_TOOL_CALL);
    }
    if (typeof choice.finish_reason === 'string') this.#tokensMax += TOKENS_PER_END;
  }
}

/** Learns how many tokens a model makes of a prompt's bytes, for prompts whose count no worker ever said. */
export class PromptRatios {
  static readonly #prior = 0.25;
  static readonly #weight = 0.05;
  readonly #ratios = new Map<string, number>();

  estimate(model: string, promptBytes: number): number {
    return Math.ceil(promptBytes * (this.#ratios.get(model) ?? PromptRatios.#prior));
  }

  learn(model: string, promptBytes: number, promptTokens: number): void {
    if (promptBytes <= 0) return;
    const before = this.#ratios.get(model) ?? PromptRatios.#prior;
    const ratio = Math.min(1, promptTokens / promptBytes);
    this.#ratios.set(model, before + PromptRatios.#weight * (ratio - before));
  }
}

function choiceIndex(chunk: StreamEvent['chunk']): number {
  return count(record(list(chunk?.choices)[0]).index) ?? 0;
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** A count that a worker claims; anything else than a non-negative integer is no claim. */
function count(value: unknown): number | null {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : null;
}

function bytesOf(text: unknown): number {
  return typeof text === 'string' ? Buffer.byteLength(text) : 0;
}
