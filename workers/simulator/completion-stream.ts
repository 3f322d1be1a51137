import type { Choice } from './choice.ts';
import { type CompletionForm, textOf } from './completion-form.ts';
import type { Exchange } from './exchange.ts';
import type { Failure } from './failure.ts';
import { completionLogprobs } from './logprobs.ts';
import { cacheTokens, callMetrics, promptTokens, type Reply, type ReplyParts, tokenCounts } from './reply.ts';

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
