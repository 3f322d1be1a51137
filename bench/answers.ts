/** What the fast worker answers, in vLLM's shapes: the same for every call, so that the price of every call is known. */
import { Buffer } from 'node:buffer';

export const PROMPT_TOKENS = 24;
export const COMPLETION_TOKENS = 64;
/** Server-sent events of one stream: the role, every token, the finish, usage, [DONE]. */
export const STREAM_FRAMES = COMPLETION_TOKENS + 4;
/** In the first frame with content and in no frame before it. */
export const CONTENT_MARK = '"content":" word';
/** The last bytes of every complete stream. */
export const STREAM_END = 'data: [DONE]\n\n';

/** The models of the fast worker: they differ in the pace of their streams. */
export const models = { fast: 'bench-fast', paced: 'bench-paced' } as const;
export const PACE_MS = 20;

const base = { id: 'chatcmpl-bench', created: 1_760_000_000 };

/** A whole chat completion of about 0.6 kB. */
export function wholeAnswer(model: string): Buffer {
  const content = ' word'.repeat(COMPLETION_TOKENS);
  const message = { role: 'assistant', content, refusal: null, tool_calls: [] };
  return Buffer.from(
    JSON.stringify({
      ...base,
      object: 'chat.completion',
      model,
      choices: [{ index: 0, message, logprobs: null, finish_reason: 'stop', stop_reason: null }],
      usage: usage(COMPLETION_TOKENS),
    }),
  );
}

/** The events of a stream, each with its blank line; `continuous` puts running usage into every chunk. */
export function streamFrames(model: string, { continuous }: { continuous: boolean }): Buffer[] {
  const frame = (choices: object[], tokens: number) => ({
    ...base,
    object: 'chat.completion.chunk',
    model,
    choices,
    ...(continuous || choices.length === 0 ? { usage: usage(tokens) } : {}),
  });
  const choice = (delta: object, reason: string | null) => [
    { index: 0, delta, logprobs: null, finish_reason: reason, ...(reason === null ? {} : { stop_reason: null }) },
  ];
  const tokens = Array.from({ length: COMPLETION_TOKENS }, (_, index) =>
    frame(choice({ content: ' word' }, null), index + 1),
  );
  const frames = [
    frame(choice({ role: 'assistant', content: '' }, null), 0),
    ...tokens,
    frame(choice({ content: '' }, 'stop'), COMPLETION_TOKENS),
    frame([], COMPLETION_TOKENS),
  ];
  return [...frames.map((data) => Buffer.from(`data: ${JSON.stringify(data)}\n\n`)), Buffer.from(STREAM_END)];
}

function usage(tokens: number) {
  return { prompt_tokens: PROMPT_TOKENS, total_tokens: PROMPT_TOKENS + tokens, completion_tokens: tokens };
}
