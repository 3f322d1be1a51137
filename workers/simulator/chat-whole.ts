import { type ChatForm, chatFinish } from './chat-form.ts';
import type { Choice } from './choice.ts';
import type { Exchange } from './exchange.ts';
import type { Failure } from './failure.ts';
import { chatLogprobs } from './logprobs.ts';
import { cacheTokens, callMetrics, promptTokens, type Reply, type ReplyParts, tokenCounts } from './reply.ts';
import type { Delta } from './speech.ts';

/** A chat answer in one piece. */
export class ChatWhole implements Reply {
  private readonly exchange: Exchange;
  private readonly parts: ReplyParts;
  private readonly form: ChatForm;
  private readonly headers: () => Record<string, string>;

  constructor(exchange: Exchange, parts: ReplyParts, form: ChatForm, headers: () => Record<string, string>) {
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
    const { identity, choices, settings, form } = this.parts;
    const completion = choices.reduce((sum, { completionTokens }) => sum + completionTokens, 0);
    const { cached, created } = cacheTokens(this.parts);
    const metrics = callMetrics(this.parts);
    return {
      id: identity.id,
      object: 'chat.completion',
      created: identity.created,
      model: identity.model,
      choices: choices.map((choice) => this.choiceBody(choice)),
      service_tier: null,
      system_fingerprint: identity.fingerprint,
      usage: {
        ...tokenCounts(promptTokens(this.parts), completion, identity),
        prompt_tokens_details: settings.promptTokensDetails
          ? { cached_tokens: cached, created_cache_tokens: created, multimodal_tokens: null }
          : null,
        completion_tokens_details: settings.reasoningParser ? { reasoning_tokens: 0 } : null,
      },
      prompt_logprobs: this.form.promptLogprobs,
      prompt_token_ids: form.returnTokenIds ? choices[0]?.promptIds : null,
      prompt_text: null,
      kv_transfer_params: null,
      ec_transfer_params: null,
      metrics: metrics === null ? null : { ...metrics, speculative_decoding: null },
    };
  }

  private choiceBody(choice: Choice): unknown {
    const { deltas, ids, logprobs } = choice.take();
    const calls = choice.finish === 'length' ? [] : this.toolCalls(deltas);
    const cutCall = choice.finish === 'length' && deltas.some(({ kind }) => kind === 'call');
    const content = cutCall ? choice.raw : joined(deltas, 'content');
    const reasoning = joined(deltas, 'reasoning');
    return {
      index: choice.index,
      message: {
        role: 'assistant',
        content: calls.length > 0 && content === '' && !this.form.forcedTool ? null : content,
        refusal: null,
        annotations: null,
        audio: null,
        function_call: null,
        ...(calls.length > 0 ? { tool_calls: calls } : {}),
        reasoning: reasoning === '' || !this.form.includeReasoning ? null : reasoning,
      },
      logprobs: logprobs.length > 0 ? chatLogprobs(logprobs) : null,
      finish_reason: chatFinish(choice, this.form),
      stop_reason: choice.stopReason,
      token_ids: this.parts.form.returnTokenIds ? ids : null,
      routed_experts: null,
    };
  }

  private toolCalls(deltas: readonly Delta[]): unknown[] {
    return deltas.flatMap((delta) => {
      if (delta.kind !== 'call') {
        return [];
      }
      const text = deltas.reduce(
        (sum, other) => (other.kind === 'arguments' && other.call === delta.call ? sum + other.text : sum),
        '',
      );
      const id = `chatcmpl-tool-${this.form.newId()}`;
      return [{ id, type: 'function', function: { name: delta.name, arguments: text } }];
    });
  }
}

function joined(deltas: readonly Delta[], kind: 'content' | 'reasoning'): string {
  return deltas.reduce((sum, delta) => (delta.kind === kind ? sum + delta.text : sum), '');
}
