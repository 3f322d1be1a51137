/**
 * Reads and judges what a worker streams: which event is the first content, when the stream is complete, when it is broken.
 * `[DONE]` alone is no success and a 200 is no answer: every choice must have finished for a reason of the model's own.
 */
import {
  type Fault,
  fault,
  isRecord,
  judgeStatus,
  type RefusalStatus,
  readWorkerError,
  type WorkerError,
} from './fault.ts';
import { type Frame, FrameSplitter } from './sse.ts';

type StreamEventKind =
  | 'comment' // no data: keep-alive comments, blank lines
  | 'opening' // choices without content: the role chunk, empty deltas
  | 'content' // text, reasoning, refusal, tool calls or audio
  | 'finish' // at least one choice finished; it may also carry content
  | 'usage' // no choices, usage alone
  | 'done'; // [DONE], after every choice has finished

/** One event of a stream that is good so far. */
export interface StreamEvent {
  /** Exactly as received, the closing blank line included. */
  readonly text: string;
  readonly kind: StreamEventKind;
  /** Whether the event carries something that the model said. */
  readonly content: boolean;
  /** The parsed data; null for comments and [DONE]. */
  readonly chunk: Readonly<Record<string, unknown>> | null;
  /** The running usage of this chunk; with several choices it counts only the choice of the chunk. */
  readonly usage: Readonly<Record<string, unknown>> | null;
}

/** How a stream ends by what it says. */
export type StreamEnd =
  | { readonly kind: 'complete' } // every choice has finished and [DONE] has come
  | { readonly kind: 'broken'; readonly fault: Fault }
  | { readonly kind: 'refused'; readonly status: RefusalStatus; readonly error: WorkerError };

/** What one read brought: the good events, and the end when there is one. */
export interface StreamRead {
  readonly events: readonly StreamEvent[];
  readonly end: StreamEnd | null;
}

/** Follows one stream to its end. */
export class StreamReader {
  readonly #splitter = new FrameSplitter();
  readonly #model: string;
  readonly #sequences: number;
  readonly #finished = new Set<number>();

  /** `sequences` is how many choices must finish: n times the number of prompts. */
  constructor(model: string, sequences: number) {
    this.#model = model;
    this.#sequences = sequences;
  }

  /** Nothing that follows an end counts: do not read on. */
  read(chunk: Uint8Array): StreamRead {
    const events: StreamEvent[] = [];
    try {
      for (const frame of this.#splitter.push(chunk)) {
        const judged = this.#judge(frame);
        if (!('text' in judged)) return { events, end: judged };
        events.push(judged);
        if (judged.kind === 'done') return { events, end: { kind: 'complete' } };
      }
    } catch (error) {
      return { events, end: broken('malformed', error instanceof Error ? error.message : 'unreadable') };
    }
    return { events, end: null };
  }

  #judge(frame: Frame): StreamEvent | StreamEnd {
    if (frame.data === null) return event(frame, 'comment', false, null);
    if (frame.data === '[DONE]') return this.#judgeDone(frame);
    const chunk = parseObject(frame.data);
    if (chunk === null) return broken('malformed', 'an event is not a JSON object');
    if (chunk.error !== undefined && chunk.error !== null) return judgeErrorEvent(chunk);
    if (chunk.model !== this.#model) return broken('other_model', `answered as model ${JSON.stringify(chunk.model)}`);
    if (!Array.isArray(chunk.choices)) return broken('malformed', 'an event has no choices');
    return this.#judgeChoices(frame, chunk, chunk.choices);
  }

  #judgeDone(frame: Frame): StreamEvent | StreamEnd {
    if (this.#finished.size === this.#sequences) return event(frame, 'done', false, null);
    return broken('no_finish', `[DONE] after ${this.#finished.size} of ${this.#sequences} choices finished`);
  }

  #judgeChoices(frame: Frame, chunk: Record<string, unknown>, choices: readonly unknown[]): StreamEvent | StreamEnd {
    if (choices.length === 0) return event(frame, isRecord(chunk.usage) ? 'usage' : 'opening', false, chunk);
    let content = false;
    let finish = false;
    for (const choice of choices) {
      if (!isRecord(choice) || !this.#isIndex(choice.index)) return broken('malformed', 'an event has an odd choice');
      content ||= hasContent(choice);
      if (choice.finish_reason === null || choice.finish_reason === undefined) continue;
      const odd = judgeFinish(choice.finish_reason);
      if (odd !== null) return { kind: 'broken', fault: odd };
      finish = true;
      this.#finished.add(choice.index);
    }
    return event(frame, finish ? 'finish' : content ? 'content' : 'opening', content, chunk);
  }

  #isIndex(index: unknown): index is number {
    return Number.isInteger(index) && Number(index) >= 0 && Number(index) < this.#sequences;
  }
}

/** Null for a proper end; the fault of a finish reason that is none: the engine gave up, or the word is no word. */
export function judgeFinish(reason: unknown): Fault | null {
  if (typeof reason !== 'string' || reason === '') return fault('malformed', 'a finish reason is not a word');
  if (reason !== 'abort' && reason !== 'error') return null;
  return fault('abort_finish', `the engine ended a choice with "${reason}"`);
}

/** Whether a choice of a chunk carries anything that the model said: its words are what is sold. */
function hasContent(choice: Record<string, unknown>): boolean {
  if (isFilled(choice.text)) return true;
  const delta = choice.delta;
  if (!isRecord(delta)) return false;
  return (
    isFilled(delta.content) ||
    isFilled(delta.reasoning) ||
    isFilled(delta.reasoning_content) ||
    isFilled(delta.refusal) ||
    (Array.isArray(delta.tool_calls) && delta.tool_calls.length > 0) ||
    isRecord(delta.function_call) ||
    isRecord(delta.audio)
  );
}

function isFilled(text: unknown): boolean {
  return typeof text === 'string' && text.length > 0;
}

function judgeErrorEvent(chunk: Record<string, unknown>): StreamEnd {
  const error = readWorkerError(chunk);
  const verdict = judgeStatus(Number(error.code), true);
  if (verdict.kind === 'refused') return { kind: 'refused', status: verdict.status, error };
  return broken(verdict.reason, error.message);
}

function event(
  { text }: Frame,
  kind: StreamEventKind,
  content: boolean,
  chunk: Record<string, unknown> | null,
): StreamEvent {
  return { text, kind, content, chunk, usage: chunk !== null && isRecord(chunk.usage) ? chunk.usage : null };
}

function broken(reason: Fault['reason'], detail: string): StreamEnd {
  return { kind: 'broken', fault: fault(reason, detail) };
}

function parseObject(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : null;
  } catch {
    return null;
  }
}
