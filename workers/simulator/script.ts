import { pickOne, type Random, randomInteger } from './random.ts';
import { SENTENCES } from './sentences.ts';
import { MARKS, type Tokenizer } from './tokenizer.ts';

/** Where the text of a token goes: to the caller as content or reasoning, into a tool call, or nowhere. */
type Channel = 'content' | 'reasoning' | 'arguments' | 'hidden';

/** One token that the simulated model is going to say. */
export interface Token {
  readonly id: number;
  readonly piece: string | Uint8Array;
  readonly channel: Channel;
  /** Which tool call its arguments belong to. */
  readonly call: number;
  /** The name of the tool whose call this token opens. */
  readonly opens: string | null;
}

/** All that a choice is going to say, lazily; where it ends, the model says its end-of-message mark. */
export type Script = Iterator<Token, void>;

/** Free text: whole sentences, enough for `leastTokens`, then a few more; without end when it must not stop. */
export function* freeScript(
  tokenizer: Tokenizer,
  random: Random,
  leastTokens: number,
  endless: boolean,
): Generator<Token, void> {
  const sentences = randomInteger(random, 2, 7);
  let tokens = 0;
  for (let said = 0; endless || said < sentences || tokens < leastTokens; said += 1) {
    const sentence = sentenceTokens(tokenizer, random, said > 0);
    yield* sentence;
    tokens += sentence.length;
  }
}

/** Reasoning, its closing mark, then the answer. */
export function* reasonedScript(tokenizer: Tokenizer, random: Random, answer: Script): Generator<Token, void> {
  for (let said = 0; said < 2; said += 1) {
    for (const token of sentenceTokens(tokenizer, random, said > 0)) {
      yield { ...token, channel: 'reasoning' };
    }
  }
  yield { id: MARKS.endThink, piece: '</think>', channel: 'hidden', call: 0, opens: null };
  for (let next = answer.next(); next.done !== true; next = answer.next()) {
    yield next.value;
  }
}

/** A text that is known in full; reasoning and tool calls inside it are found where the server has parsers for them. */
export function* knownScript(
  tokenizer: Tokenizer,
  text: string,
  parse: { reasoning: boolean; calls: boolean },
): Generator<Token, void> {
  const close = parse.reasoning ? text.indexOf('</think>') : -1;
  if (close >= 0) {
    yield* partTokens(tokenizer, text.slice(0, close), 'reasoning');
    yield { id: MARKS.endThink, piece: '</think>', channel: 'hidden', call: 0, opens: null };
  }
  const answer = close >= 0 ? text.slice(close + '</think>'.length) : text;
  yield* parse.calls ? callTokens(tokenizer, answer) : partTokens(tokenizer, answer, 'content');
}

/** A tool call as the model writes it, in the format of Hermes. */
export function callText(name: string, argumentsJson: string): string {
  return `<tool_call>\n{"name": ${JSON.stringify(name)}, "arguments": ${argumentsJson}}\n</tool_call>`;
}

const CALL = /<tool_call>\n(\{"name": "([^"]*)", "arguments": )(.*?)\}\n<\/tool_call>/gs;

function* callTokens(tokenizer: Tokenizer, text: string): Generator<Token, void> {
  let call = 0;
  let at = 0;
  for (const match of text.matchAll(CALL)) {
    const [whole, opening = '', name = '', argumentsJson = ''] = match;
    const before = text.slice(at, match.index);
    yield* partTokens(tokenizer, before, before.trim() === '' ? 'hidden' : 'content');
    yield* partTokens(tokenizer, `<tool_call>\n${opening}`, 'hidden', call, name);
    yield* partTokens(tokenizer, argumentsJson, 'arguments', call);
    yield* partTokens(tokenizer, '}\n</tool_call>', 'hidden');
    at = match.index + whole.length;
    call += 1;
  }
  yield* partTokens(tokenizer, text.slice(at), 'content');
}

function partTokens(
  tokenizer: Tokenizer,
  text: string,
  channel: Channel,
  call = 0,
  opens: string | null = null,
): Token[] {
  const ids = tokenizer.encode(text);
  return ids.map((id, at) => ({
    id,
    piece: tokenizer.piece(id),
    channel,
    call,
    opens: at === ids.length - 1 ? opens : null,
  }));
}

/** Sentences are tokenised once each: with the space before it, and without. */
const sentenceCache = new Map<string, readonly Token[]>();

function sentenceTokens(tokenizer: Tokenizer, random: Random, spaced: boolean): readonly Token[] {
  const text = (spaced ? ' ' : '') + pickOne(random, SENTENCES);
  let tokens = sentenceCache.get(text);
  if (tokens === undefined) {
    tokens = partTokens(tokenizer, text, 'content');
    sentenceCache.set(text, tokens);
  }
  return tokens;
}
