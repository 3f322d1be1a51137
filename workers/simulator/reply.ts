import type { Choice } from './choice.ts';
import type { Failure } from './failure.ts';
import type { FaultRule } from './faults.ts';
import type { Settings } from './options.ts';

/** What every part of one answer tells about itself. Faults tell lies here. */
export interface Identity {
  readonly id: string;
  readonly created: number;
  readonly model: string;
  readonly fingerprint: string;
  /** Token counts are multiplied by this; 1 is the truth. */
  readonly usageFactor: number;
}

/** Where a fault makes the answer lie: about the model, or the token counts. */
export function falseTruth(rule: FaultRule | null, { model }: Settings): Pick<Identity, 'model' | 'usageFactor'> {
  return {
    model: rule?.fault === 'wrong-model' ? 'another-model' : model,
    usageFactor: rule?.fault === 'inflated-usage' ? (rule.factor ?? 10) : 1,
  };
}

/** What the caller asked about the form of the answer. */
export interface Form {
  readonly includeUsage: boolean;
  readonly continuousUsage: boolean;
  readonly streamInterval: number;
  readonly returnTokenIds: boolean;
  /** Prompts, each answered by `choices / prompts` choices. */
  readonly prompts: number;
}

/** How an answer reaches the caller: one kind for each endpoint, whole or streamed. */
export interface Reply {
  /** The call was accepted: the head of a stream leaves now, before the queue. */
  open(): void;
  /** A choice said another token. */
  said(choice: Choice): void;
  /** All choices have ended. */
  finished(): void;
  /** The call failed after it was accepted. */
  failed(failure: Failure): void;
  /** The call was thrown out of the queue, as on SIGTERM: no token, and in a stream no finish reason. */
  expelled(): void;
  /** Sends text before the engine said anything: a cheat that a fault asks for. */
  pretend(text: string): void;
  /** Sends an event of this choice that carries nothing, as for a token of incomplete UTF-8. */
  blank(choice: Choice): void;
}

/** What the parts of a reply need. */
export interface ReplyParts {
  readonly identity: Identity;
  readonly form: Form;
  readonly choices: readonly Choice[];
  readonly settings: Settings;
}

/** Prompt tokens of a call: of each prompt once, however many choices answer it. */
export function promptTokens({ choices, form }: ReplyParts): number {
  const perPrompt = choices.length / form.prompts;
  return choices
    .filter(({ index }) => index % perPrompt === 0)
    .reduce((sum, { promptIds }) => sum + promptIds.length, 0);
}

/** Cached prompt tokens, and tokens of whole blocks that this call put into the cache. */
export function cacheTokens({ choices, settings }: ReplyParts): { cached: number; created: number } {
  const [first] = choices;
  const cached = first?.cachedTokens ?? 0;
  const inBlocks = Math.floor((first?.promptIds.length ?? 0) / settings.blockSize) * settings.blockSize;
  return { cached, created: Math.max(inBlocks - cached, 0) };
}

/** The counts that every usage object begins with, in vLLM's order. */
export function tokenCounts(prompt: number, completion: number, { usageFactor }: Identity): Record<string, number> {
  const [shownPrompt, shownCompletion] = [prompt * usageFactor, completion * usageFactor];
  return {
    prompt_tokens: shownPrompt,
    total_tokens: shownPrompt + shownCompletion,
    completion_tokens: shownCompletion,
  };
}

/** The worker's own timings of a call with one choice, where the server tells them. */
export function callMetrics({ choices, settings }: ReplyParts): Record<string, number> | null {
  const [choice] = choices;
  if (!settings.perRequestMetrics || choice === undefined || choices.length > 1) {
    return null;
  }
  const { arrivedMs, scheduledMs, firstTokenMs, lastTokenMs } = choice.times;
  const decodeMs = lastTokenMs - firstTokenMs;
  return {
    time_to_first_token_ms: firstTokenMs - scheduledMs,
    generation_time_ms: decodeMs,
    queue_time_ms: scheduledMs - arrivedMs,
    mean_itl_ms: choice.completionTokens > 1 ? decodeMs / (choice.completionTokens - 1) : 0,
    tokens_per_second: choice.completionTokens / Math.max((lastTokenMs - scheduledMs) / 1000, 1e-6),
  };
}
