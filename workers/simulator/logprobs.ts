import { hashIds } from './random.ts';
import type { Tokenizer } from './tokenizer.ts';

/** How sure the simulated model is of a token, and what else it might have said. */
export interface Logprob {
  readonly id: number;
  readonly text: string;
  readonly logprob: number;
  readonly rank: number;
  readonly top: readonly { readonly id: number; readonly text: string; readonly logprob: number }[];
}

/** The word list's more frequent part, from which alternatives are drawn. */
const COMMON_IDS = 20_000;

/** A likely token's logprob with `top` alternatives, the token itself first; the same for the same token and place. */
export function tokenLogprob(tokenizer: Tokenizer, id: number, place: number, top: number): Logprob {
  const draw = hashIds([id, place]);
  const logprob = -((draw % 1000) + 1) / 1500;
  const alternatives = Array.from({ length: top }, (_, at) => {
    const other = at === 0 ? id : hashIds([at], draw) % COMMON_IDS;
    return { id: other, text: tokenizer.decode([other]), logprob: at === 0 ? logprob : logprob - 1.25 * at };
  });
  return { id, text: tokenizer.decode([id]), logprob, rank: 1, top: alternatives };
}

/** The chat form: `logprobs.content`. */
export function chatLogprobs(logprobs: readonly Logprob[]): unknown {
  const entry = ({ text, logprob }: { text: string; logprob: number }) => ({
    token: text,
    logprob,
    bytes: [...Buffer.from(text)],
  });
  return { content: logprobs.map((item) => ({ ...entry(item), top_logprobs: item.top.map(entry) })) };
}

/** The completions form: parallel lists. `offset` is where the first token begins in the text. */
export function completionLogprobs(
  logprobs: readonly (Logprob | null)[],
  texts: readonly string[],
  offset: number,
): unknown {
  let at = offset;
  return {
    text_offset: texts.map((text) => {
      at += text.length;
      return at - text.length;
    }),
    token_logprobs: logprobs.map((item) => item?.logprob ?? null),
    tokens: texts,
    top_logprobs: logprobs.map((item) =>
      item === null ? null : Object.fromEntries([item, ...item.top].map(({ text, logprob }) => [text, logprob])),
    ),
  };
}

/** What the model thought of the prompt: nothing of its first token, then one map per token. */
export function promptLogprobs(tokenizer: Tokenizer, ids: readonly number[], top: number): unknown {
  return ids.map((id, at) => {
    if (at === 0) {
      return null;
    }
    const { text, logprob, rank, top: alternatives } = tokenLogprob(tokenizer, id, at, top + 1);
    const own = { logprob, rank, decoded_token: text };
    const others = alternatives
      .slice(1)
      .map((other, place) => [other.id, { logprob: other.logprob, rank: place + 2, decoded_token: other.text }]);
    return Object.fromEntries([[id, own], ...others]);
  });
}
