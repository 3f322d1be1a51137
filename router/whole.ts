/**
 * Judges a whole (not streamed) answer: JSON of the model asked, every choice properly finished, with a usage to bill by.
 */
import { judgeFinish } from './answer.ts';
import { type Fault, fault, isRecord } from './fault.ts';

const utf8 = new TextDecoder('utf-8', { fatal: true });

export type WholeJudgement = { readonly answer: Record<string, unknown> } | { readonly fault: Fault };

export interface WholeExpectation {
  readonly path: string;
  readonly model: string;
  /** Choices that must have finished, or embeddings that must be there. */
  readonly sequences: number;
}

/** `body` is the complete body of a 200. */
export function judgeWhole(body: Uint8Array, expected: WholeExpectation): WholeJudgement {
  const answer = parseJson(body);
  if (!isRecord(answer)) return { fault: fault('malformed', 'the answer is not a JSON object') };
  if (answer.model !== expected.model) {
    return { fault: fault('other_model', `answered as model ${JSON.stringify(answer.model)}`) };
  }
  const odd = expected.path.endsWith('/embeddings')
    ? judgeEmbeddings(answer, expected.sequences)
    : judgeChoices(answer, expected.sequences);
  const oddUsage = odd ?? judgeUsage(answer.usage);
  return oddUsage === null ? { answer } : { fault: oddUsage };
}

function judgeChoices(answer: Record<string, unknown>, sequences: number): Fault | null {
  const choices = answer.choices;
  if (!Array.isArray(choices) || choices.length !== sequences) {
    return fault('malformed', `the answer does not have ${sequences} choices`);
  }
  for (const choice of choices) {
    const odd = isRecord(choice) ? judgeFinish(choice.finish_reason) : fault('malformed', 'a choice is not an object');
    if (odd !== null) return odd;
  }
  return null;
}

function judgeEmbeddings(answer: Record<string, unknown>, sequences: number): Fault | null {
  const data = answer.data;
  if (Array.isArray(data) && data.length === sequences && data.every((item) => isRecord(item) && item.embedding)) {
    return null;
  }
  return fault('malformed', `the answer does not have ${sequences} embeddings`);
}

function judgeUsage(usage: unknown): Fault | null {
  return isRecord(usage) && Number.isInteger(usage.prompt_tokens)
    ? null
    : fault('malformed', 'the answer has no usage');
}

/** Parses JSON; text that is none comes back as text, and bytes that are not UTF-8 as null. */
export function parseJson(body: Uint8Array): unknown {
  let text: string;
  try {
    text = utf8.decode(body);
  } catch {
    return null;
  }
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Collects a body up to a limit. */
export class BodyCollector {
  readonly #chunks: Uint8Array[] = [];
  #bytes = 0;

  /** Returns false when the body is now longer than `mostBytes`. */
  push(chunk: Uint8Array, mostBytes: number): boolean {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    return this.#bytes <= mostBytes;
  }

  /** The whole body; without a copy when one read brought it. */
  bytes(): Uint8Array {
    const first = this.#chunks[0];
    if (first !== undefined && this.#chunks.length === 1) return first;
    const whole = new Uint8Array(this.#bytes);
    let at = 0;
    for (const chunk of this.#chunks) {
      whole.set(chunk, at);
      at += chunk.length;
    }
    return whole;
  }
}
