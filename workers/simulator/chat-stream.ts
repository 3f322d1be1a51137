import { type ChatForm, chatFinish } from './chat-form.ts';
import type { Choice } from './choice.ts';
import type { Exchange } from './exchange.ts';
import type { Failure } from './failure.ts';
import { chatLogprobs, type Logprob } from './logprobs.ts';
import { cacheTokens, callMetrics, promptTokens, type Reply, type ReplyParts, tokenCounts } from './reply.ts';
import type { Delta } from './speech.ts';

/** A streamed chat answer: role chunks with the first token, deltas, finish, usage, `[DONE]`. */
export class ChatStream implements Reply {
  private readonly exchange: Exchange;
  private readonly parts: ReplyParts;
  private readonly form: ChatForm;
  private readonly head: string;
  private readonly fingerprint: string;
  private began = false;

  constructor(exchange: Exchange, parts: ReplyParts, form: ChatForm) {
    this.exchange = exchange;
    this.parts = parts;
    this.form = form;
    const { id, created, model, fingerprint } = parts.identity;
    const names = JSON.stringify({ id, object: 'chat.completion.chunk', created, model });
    this.head = `data: ${names.slice(0, -1)},"choices":[`;
    this.fingerprint = `,"system_fingerprint":${JSON.stringify(fingerprint)}`;
  }

  open(): void {
    this.exchange.openStream(this.parts.settings.keepAliveCommentMs);
  }

  said(choice: Choice): void {
    this.begin();
    const { streamInterval } = this.parts.form;
    if (choice.finish === null && (choice.completionTokens - 1) % streamInterval !== 0) {
      return;
    }
    const said = choice.take();
    const deltas = said.deltas.filter(({ kind }) => this.form.includeReasoning || kind !== 'reasoning');
    const last = deltas.at(-1);
    const together = choice.finish !== null && (last?.kind === 'content' || last?.kind === 'reasoning');
    const extras = { ids: said.ids, logprobs: said.logprobs };
    deltas.forEach((delta, at) => {
      const isLast = at === deltas.length - 1;
      this.chunk(choice, this.deltaJson(delta), at === 0 ? extras : null, isLast && together);
    });
    if (choice.finish !== null && !together) {
      this.chunk(choice, '{}', deltas.length === 0 ? extras : null, true);
    }
  }

  finished(): void {
    const { form, choices, settings, identity } = this.parts;
    if (form.includeUsage) {
      const completion = choices.reduce((sum, { completionTokens }) => sum + completionTokens, 0);
      const { cached, created } = cacheTokens(this.parts);
      const usage = {
        ...tokenCounts(promptTokens(this.parts), completion, identity),
        ...(settings.promptTokensDetails
          ? { prompt_tokens_details: { cached_tokens: cached, created_cache_tokens: created } }
          : {}),
        ...(settings.reasoningParser ? { completion_tokens_details: { reasoning_tokens: 0 } } : {}),
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
    this.begin();
    this.done();
  }

  pretend(text: string): void {
    this.begin();
    const [first] = this.parts.choices;
    if (first !== undefined) {
      this.chunk(first, this.deltaJson({ kind: 'content', text }), null, false);
    }
  }

  blank(choice: Choice): void {
    this.chunk(choice, '{"content":""}', null, false);
  }

  /** One chunk of the role for every choice, once; they leave only when the engine said its first token. */
  private begin(): void {
    if (this.began) {
      return;
    }
    this.began = true;
    for (const choice of this.parts.choices) {
      const usage = this.usageJson(choice, 0);
      const ids = this.parts.form.returnTokenIds ? JSON.stringify(choice.promptIds) : 'null';
      this.exchange.send(
        `${this.head}{"index":${choice.index},"delta":{"role":"assistant","content":""},"logprobs":null,` +
          `"finish_reason":null}]${usage},"prompt_token_ids":${ids},"prompt_text":null}\n\n`,
      );
    }
  }

  private chunk(
    choice: Choice,
    delta: string,
    extras: { ids: readonly number[]; logprobs: readonly Logprob[] } | null,
    finishing: boolean,
  ): void {
    const { includeUsage, returnTokenIds } = this.parts.form;
    const logprobs =
      extras !== null && extras.logprobs.length > 0 ? JSON.stringify(chatLogprobs(extras.logprobs)) : 'null';
    const ids = extras !== null && returnTokenIds ? JSON.stringify(extras.ids) : 'null';
    const finish = finishing
      ? `${JSON.stringify(chatFinish(choice, this.form))},"stop_reason":${JSON.stringify(choice.stopReason)}`
      : 'null';
    this.exchange.send(
      `${this.head}{"index":${choice.index},"delta":${delta},"logprobs":${logprobs},"finish_reason":${finish},` +
        `"token_ids":${ids}}]${this.usageJson(choice, choice.completionTokens)}` +
        `${finishing && !includeUsage ? this.fingerprint : ''}}\n\n`,
    );
  }

  private deltaJson(delta: Delta): string {
    switch (delta.kind) {
      case 'content':
      case 'reasoning':
        return `{"${delta.kind}":${JSON.stringify(delta.text)}}`;
      case 'call':
        return (
          `{"content":null,"tool_calls":[{"id":"chatcmpl-tool-${this.form.newId()}","type":"function",` +
          `"index":${delta.call},"function":{"name":${JSON.stringify(delta.name)}}}]}`
        );
      case 'arguments':
        return (
          `{"content":null,"tool_calls":[{"index":${delta.call},` +
          `"function":{"arguments":${JSON.stringify(delta.text)}}}]}`
        );
    }
  }

  private usageJson(choice: Choice, completion: number): string {
    if (!this.parts.form.continuousUsage) {
      return '';
    }
    const counts = JSON.stringify(tokenCounts(choice.promptIds.length, completion, this.parts.identity));
    const details = this.parts.settings.reasoningParser ? '{"reasoning_tokens":0}' : 'null';
    return `,"usage":${counts.slice(0, -1)},"completion_tokens_details":${details}}`;
  }

  private done(): void {
    this.exchange.sendEvent('[DONE]');
    this.exchange.endStream();
  }
}
