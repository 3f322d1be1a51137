import type { Choice } from './choice.ts';
import { type CompletionForm, textOf } from './completion-form.ts';
import type { Exchange } from './exchange.ts';
import type { Failure } from './failure.ts';
import { completionLogprobs } from './logprobs.ts';
import { cacheTokens, callMetrics, promptTokens, type Reply, type ReplyParts, tokenCounts } from './reply.ts';

/** A completion in one piece. */
export class CompletionWhole implements Reply {
  private readonly exchange: Exchange;
  private readonly parts: ReplyParts;
  private readonly form: CompletionForm;
  private readonly headers: () => Record<string, string>;

  constructor(exchange: Exchange, parts: ReplyParts, form: CompletionForm, headers: () => Record<string, string>) {
    this.exchange = exchange;
    this.parts = parts;
    this.form = form;
    this.headers = headers;
  }

  open(): void {}

  said(): void {}

  pretend(): void {}

  blank(): void {}

  finished(): void {
    this.exchange.json(200, this.body(), this.headers());
  }

  failed(failure: Failure): void {
    this.exchange.fail(failure);
  }

  expelled(): void {
    for (const choice of this.parts.choices) {
      choice.end('abort');
    }
    this.finished();
  }

  private body(): unknown {
    const { identity, choices, settings } = this.parts;
    const completion = choices.reduce((sum, { completionTokens }) => sum + completionTokens, 0);
    const metrics = callMetrics(this.parts);
    return {
      id: identity.id,
      object: 'text_completion',
      created: identity.created,
      model: identity.model,
      choices: choices.map((choice) => this.choiceBody(choice)),
      service_tier: null,
      system_fingerprint: identity.fingerprint,
      usage: {
        ...tokenCounts(promptTokens(this.parts), completion, identity),
        prompt_tokens_details: settings.promptTokensDetails
          ? { cached_tokens: cacheTokens(this.parts).cached, created_cache_tokens: null, multimodal_tokens: null }
          : null,
        completion_tokens_details: null,
      },
      kv_transfer_params: null,
      ec_transfer_params: null,
      metrics: metrics === null ? null : { ...metrics, speculative_decoding: null },
    };
  }

  private choiceBody(choice: Choice): unknown {
    const { deltas, ids, logprobs } = choice.take();
    const { echo, echoOnly, echoLogprobs } = this.form;
    const { returnTokenIds } = this.parts.form;
    const echoed = echoLogprobs?.(choice) ?? { logprobs: [], texts: [] };
    const texts = [...echoed.texts, ...logprobs.map((item) => item.text)];
    return {
      index: choice.index,
      text: (echo?.(choice) ?? '') + (echoOnly ? '' : textOf(deltas)),
      logprobs: logprobs.length > 0 ? completionLogprobs([...echoed.logprobs, ...logprobs], texts, 0) : null,
      finish_reason: choice.finish,
      stop_reason: choice.stopReason,
      token_ids: returnTokenIds ? ids : null,
      prompt_logprobs: this.form.promptLogprobs(choice),
      prompt_token_ids: returnTokenIds ? choice.promptIds : null,
      routed_experts: null,
    };
  }
}
