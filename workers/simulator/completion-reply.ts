import type { Choice, Delta } from './choice.ts';
import type { Exchange } from './exchange.ts';
import type { Failure } from './failure.ts';
import { completionLogprobs, type Logprob } from './logprobs.ts';
import { cacheTokens, callMetrics, promptTokens, type Reply, type ReplyParts, tokenCounts } from './reply.ts';

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

/** A streamed completion: pieces of text, finish, usage, `[DONE]`; there is no role. */
export class CompletionStream implements Reply {
  private readonly exchange: Exchange;
  private readonly parts: ReplyParts;
  private readonly form: CompletionForm;
  private readonly head: string;
  private readonly fingerprint: string;
  private readonly offsets = new Map<Choice, number>();

  constructor(exchange: Exchange, parts: ReplyParts, form: CompletionForm) {
    this.exchange = exchange;
    this.parts = parts;
    this.form = form;
    const { id, created, model, fingerprint } = parts.identity;
    const names = JSON.stringify({ id, object: 'text_completion', created, model });
    this.head = `data: ${names.slice(0, -1)},"choices":[`;
    this.fingerprint = `,"system_fingerprint":${JSON.stringify(fingerprint)}`;
  }

  open(): void {
    this.exchange.openStream(this.parts.settings.keepAliveCommentMs);
  }

  said(choice: Choice): void {
    if (choice.finish === null && (choice.completionTokens - 1) % this.parts.form.streamInterval !== 0) {
      return;
    }
    const { deltas, ids, logprobs } = choice.take();
    const first = !this.offsets.has(choice);
    const echoed = first && this.form.echo !== null ? this.form.echo(choice) : '';
    const text = echoed + (this.form.echoOnly ? '' : textOf(deltas));
    const offset = this.offsets.get(choice) ?? 0;
    this.offsets.set(choice, offset + text.length);
    const told =
      logprobs.length > 0
        ? completionLogprobs(
            logprobs,
            logprobs.map((item) => item.text),
            offset,
          )
        : null;
    this.chunk(choice, text, { first, ids, logprobs: told });
  }

  finished(): void {
    const { form, choices, settings, identity } = this.parts;
    if (form.includeUsage) {
      const completion = choices.reduce((sum, { completionTokens }) => sum + completionTokens, 0);
      const usage = {
        ...tokenCounts(promptTokens(this.parts), completion, identity),
        ...(settings.promptTokensDetails
          ? { prompt_tokens_details: { cached_tokens: cacheTokens(this.parts).cached } }
          : {}),
      };
      const metrics = callMetrics(this.parts);
      const told = metrics === null ? '' : `,"metrics":${JSON.stringify(metrics)}`;
      this.exchange.send(`${this.head}],"usage":${JSON.stringify(usage)}${this.fingerprint}${told}}\n\n`);
    }
    this.done();
  }

  failed(failure: Failure): void {
    this.exchange.sendFailure(failure);
    this.done();
  }

  expelled(): void {
    this.done();
  }

  pretend(text: string): void {
    const [first] = this.parts.choices;
    if (first !== undefined) {
      this.chunk(first, text, { first: false, ids: [], logprobs: null });
    }
  }

  blank(choice: Choice): void {
    this.chunk(choice, '', { first: false, ids: [], logprobs: null });
  }

  private chunk(
    choice: Choice,
    text: string,
    { first, ids, logprobs }: { first: boolean; ids: readonly number[]; logprobs: unknown },
  ): void {
    const { includeUsage, continuousUsage, returnTokenIds } = this.parts.form;
    const tellPrompt = first && (returnTokenIds || this.form.echo !== null);
    const usage = continuousUsage
      ? `,"usage":${JSON.stringify(tokenCounts(choice.promptIds.length, choice.completionTokens, this.parts.identity))}`
      : '';
    this.exchange.send(
      `${this.head}{"index":${choice.index},"text":${JSON.stringify(text)},"logprobs":${JSON.stringify(logprobs)},` +
        `"finish_reason":${JSON.stringify(choice.finish)},"stop_reason":${JSON.stringify(choice.stopReason)},` +
        `"prompt_token_ids":${tellPrompt ? JSON.stringify(choice.promptIds) : 'null'},` +
        `"token_ids":${returnTokenIds ? JSON.stringify(ids) : 'null'}}]${usage}` +
        `${choice.finish !== null && !includeUsage ? this.fingerprint : ''}}\n\n`,
    );
  }

  private done(): void {
    this.exchange.sendEvent('[DONE]');
    this.exchange.endStream();
  }
}

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

function textOf(deltas: readonly Delta[]): string {
  return deltas.reduce((sum, delta) => ('text' in delta ? sum + delta.text : sum), '');
}
