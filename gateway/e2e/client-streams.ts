import { setTimeout as sleep } from 'node:timers/promises';
import OpenAI from 'openai';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import {
  beyondOpenAi,
  type ClientTarget,
  clientOf,
  expectPriced,
  type Face,
  hello,
  longTalk,
  untilEnginesRest,
} from './client-target.ts';

/** Streams whole and cut short. */
export function declareStreams(face: Face, target: () => ClientTarget): void {
  describe('streamed chat completions with the stock client', () => {
    let openai: OpenAI;
    beforeAll(() => {
      openai = clientOf(target());
    });

    it('assembles to what a whole answer with the same seed says', async () => {
      const whole = await openai.chat.completions.create({ ...hello(target()), max_tokens: 24 });
      const streamed = await openai.chat.completions
        .stream({ ...hello(target()), max_tokens: 24 })
        .finalChatCompletion();
      expect(streamed.choices[0]?.message.content).toBe(whole.choices[0]?.message.content);
      expect(streamed.choices[0]?.finish_reason).toBe(whole.choices[0]?.finish_reason);
    });

    it('gives exactly one usage chunk, the last, when usage is asked for', async () => {
      const chunks = await collect(openai, target(), { stream_options: { include_usage: true } });
      expect(chunks.filter((chunk) => chunk.usage != null)).toHaveLength(1);
      const last = chunks.at(-1);
      expect(last?.choices).toEqual([]);
      expect(last?.usage?.total_tokens).toBeGreaterThan(0);
      if (face === 'gateway') expectPriced(last?.usage);
    });

    it.each([
      ['absent', {}],
      ['null', { stream_options: null }],
      ['switched off', { stream_options: { include_usage: false } }],
    ])('gives no usage at all when stream_options are %s', async (_, options) => {
      const chunks = await collect(openai, target(), options);
      expect(chunks.filter((chunk) => chunk.usage != null)).toEqual([]);
      expect(chunks.filter((chunk) => chunk.choices.length === 0)).toEqual([]);
      expect(chunks.filter((chunk) => chunk.choices[0]?.finish_reason != null)).toHaveLength(1);
    });

    it('gives usage in every chunk when continuous usage is asked for', async () => {
      const stream_options = { include_usage: true, ...beyondOpenAi({ continuous_usage_stats: true }) };
      const chunks = await collect(openai, target(), { stream_options });
      expect(chunks.filter((chunk) => chunk.usage == null)).toEqual([]);
      expect(chunks.at(-1)?.choices).toEqual([]);
    });

    it('finishes each of two choices once', async () => {
      const chunks = await collect(openai, target(), { n: 2, temperature: 1 });
      const finished = chunks.flatMap((chunk) => chunk.choices.filter((choice) => choice.finish_reason !== null));
      expect(finished.map((choice) => choice.index).sort()).toEqual([0, 1]);
    });

    it('carries log probabilities', async () => {
      const chunks = await collect(openai, target(), { logprobs: true, top_logprobs: 1 });
      const tokens = chunks.flatMap((chunk) => chunk.choices.flatMap((choice) => choice.logprobs?.content ?? []));
      expect(tokens.length).toBeGreaterThan(0);
      for (const token of tokens) expect(token.logprob).toBeLessThanOrEqual(0);
    });
  });
  declareAborts(face, target);
}

function declareAborts(face: Face, target: () => ClientTarget) {
  describe('a stock client that hangs up', () => {
    it('in mid-stream frees the engine', async () => {
      const { data: stream, response } = await clientOf(target())
        .chat.completions.create({ ...longTalk(target()), stream: true })
        .withResponse();
      let seen = 0;
      for await (const _ of stream) {
        seen += 1;
        if (seen === 5) break;
      }
      await untilEnginesRest(target());
      if (face === 'gateway') {
        const call = await closedCall(target(), response.headers.get('x-faregate-call'));
        expect(call.outcome).toBe('aborted');
        expect(BigInt(call.charged_nanousd)).toBeGreaterThan(0n);
        expect(BigInt(call.charged_nanousd)).toBeLessThan(BigInt(call.held_nanousd));
        expect(call.usage.prompt_tokens).toBeGreaterThan(0);
        expect(call.usage.completion_tokens).toBeLessThan(700);
      }
    });

    it.each([
      ['stream', true],
      ['whole answer', false],
    ])('before the first token of a %s frees the engine', async (_, stream) => {
      const crowd = new AbortController();
      const openai = clientOf(target());
      const busy = Array.from({ length: 6 }, () =>
        openai.chat.completions.create(longTalk(target()), { signal: crowd.signal }).catch((error: unknown) => error),
      );
      await sleep(100); // the crowd takes the slots first; nothing breaks when it has not
      const patience = new AbortController();
      const call = openai.chat.completions.create({ ...longTalk(target()), stream }, { signal: patience.signal });
      setTimeout(() => patience.abort(), 20);
      const read = async () => {
        const answer = await call;
        if (Symbol.asyncIterator in answer)
          for await (const chunk of answer) expect(chunk.choices.length).toBeLessThan(2);
        return answer;
      };
      if (stream) await read().catch(expectHangUp);
      else await expect(read()).rejects.toBeInstanceOf(OpenAI.APIUserAbortError);
      crowd.abort();
      for (const error of await Promise.all(busy)) expect(error).toBeInstanceOf(OpenAI.APIUserAbortError);
      await untilEnginesRest(target());
    });
  });
}

/** A stream may have its head, and then ends without an error, or not yet, and then the client throws. */
function expectHangUp(error: unknown) {
  expect(error).toBeInstanceOf(OpenAI.APIUserAbortError);
}

type ChatOptions = Partial<OpenAI.ChatCompletionCreateParamsStreaming>;

async function collect(
  openai: OpenAI,
  target: ClientTarget,
  options: ChatOptions,
): Promise<OpenAI.ChatCompletionChunk[]> {
  const chunks: OpenAI.ChatCompletionChunk[] = [];
  const stream = await openai.chat.completions.create({ ...hello(target), ...options, stream: true });
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

interface CallView {
  readonly status: 'open' | 'closed';
  readonly outcome: 'complete' | 'aborted' | 'failed';
  readonly held_nanousd: string;
  readonly charged_nanousd: string;
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number };
}

/** The gateway's own record of a call, once that is closed. */
async function closedCall(target: ClientTarget, id: string | null): Promise<CallView> {
  return vi.waitFor(
    async () => {
      const call = await clientOf(target).get<CallView>(`/calls/${id}`);
      expect(call.status).toBe('closed');
      return call;
    },
    { timeout: 10_000, interval: 50 },
  );
}
