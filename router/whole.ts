/**
 * Reads and judges what comes whole: a good answer is JSON of the model asked, every choice properly finished, with a usage to
 * bill by; any other status is an error in one of the engine's shapes.
 */
import { judgeFinish } from './answer.ts';
import {
  type Fault,
  fault,
  isRecord,
  judgeStatus,
  type RefusalStatus,
  readWorkerError,
  type WorkerError,
} from './fault.ts';

export interface WholeExpectation {
  readonly path: string;
  readonly model: string;
  /** Choices that must have finished, or embeddings that must be there. */
  readonly sequences: number;
}

interface WholeAnswer {
  readonly kind: 'whole';
  /** As it came, and whether a byte is a character of it. */
  readonly text: string;
  readonly isAscii: boolean;
  readonly answer: Readonly<Record<string, unknown>>;
}

export type WholeEnd =
  | WholeAnswer
  | { readonly kind: 'refused'; readonly status: RefusalStatus; readonly error: WorkerError }
  | { readonly kind: 'broken'; readonly fault: Fault };

const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
const MAX_ERROR_BYTES = 64 * 1024;

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** Collects one body and judges it when it is complete. */
export class WholeReader {
  readonly #status: number;
  readonly #expected: WholeExpectation;
  readonly #chunks: Uint8Array[] = [];
  #bytes = 0;

  constructor(status: number, expected: WholeExpectation) {
    this.#status = status;
    this.#expected = expected;
  }

  /** The fault of a body that is too long, else null. */
  read(chunk: Uint8Array): Fault | null {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    const mostBytes = this.#status === 200 ? MAX_ANSWER_BYTES : MAX_ERROR_BYTES;
    return this.#bytes > mostBytes ? fault('malformed', `an answer of more than ${mostBytes} bytes`) : null;
  }

  /** The verdict on the complete body. */
  end(): WholeEnd {
    const text = decode(join(this.#chunks, this.#bytes));
    const parsed = parseJson(text);
    if (this.#status !== 200) return judgeError(this.#status, parsed);
    if (!isRecord(parsed)) return { kind: 'broken', fault: fault('malformed', 'the answer is not a JSON object') };
    const odd = judge(parsed, this.#expected);
    if (odd !== null) return { kind: 'broken', fault: odd };
    return { kind: 'whole', text, isAscii: text.length === this.#bytes, answer: parsed };
  }
}

function judge(answer: Record<string, unknown>, { path, model, sequences }: WholeExpectation): Fault | null {
  if (answer.model !== model) return fault('other_model', `answered as model ${JSON.stringify(answer.model)}`);
  const odd = path.endsWith('/embeddings') ? judgeEmbeddings(answer, sequences) : judgeChoices(answer, sequences);
  return odd ?? judgeUsage(answer.usage);
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

function judgeError(status: number, body: unknown): WholeEnd {
  const error = readWorkerError(body);
  const verdict = judgeStatus(status);
  if (verdict.kind === 'refused') return { ...verdict, error };
  return { kind: 'broken', fault: fault(verdict.reason, `HTTP ${status}: ${error.message}`) };
}

/** Empty where it is not UTF-8. */
function decode(body: Uint8Array): string {
  try {
    return utf8.decode(body);
  } catch {
    return '';
  }
}

/** JSON; text that is none comes back as text. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** One piece; without a copy when one read brought it all. */
function join(chunks: readonly Uint8Array[], bytes: number): Uint8Array {
  const first = chunks[0];
  if (first !== undefined && chunks.length === 1) return first;
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}
