import type { Choice } from './choice.ts';
import type { Engine } from './engine.ts';
import type { Failure } from './failure.ts';
import type { Reply } from './reply.ts';

/** An accepted call, as those see it who may end it from outside. */
export interface LiveCall {
  /** Tokens said so far, by all choices. */
  readonly completionTokens: number;
  /** Leaves the engine and tells the caller nothing: it hung up, or a fault speaks for itself. */
  leave(): void;
  /** Leaves the engine with an error. */
  fail(failure: Failure): void;
  /** Ends as vLLM ends calls when it stops: running ones with `abort`, queued ones with hardly a word. */
  abort(): void;
  /** From here on nothing is said any more, though the connection stays: a hang. */
  mute(): void;
}

/** One accepted call: its choices go through the engine, what they say goes to the reply. */
export class Call implements LiveCall {
  private readonly engine: Engine;
  private readonly onEnd: (call: Call) => void;
  private choicesMade: readonly Choice[] = [];
  private reply: Reply | null = null;
  private ended = false;

  constructor(engine: Engine, onEnd: (call: Call) => void) {
    this.engine = engine;
    this.onEnd = onEnd;
  }

  get completionTokens(): number {
    return this.choicesMade.reduce((sum, { completionTokens }) => sum + completionTokens, 0);
  }

  /** Opens the answer, then queues the choices. */
  start(choices: readonly Choice[], reply: Reply): void {
    this.choicesMade = choices;
    this.reply = reply;
    reply.open();
    if (!this.ended) {
      for (const choice of choices) {
        this.engine.add(choice);
      }
    }
  }

  /** A choice said a token. */
  said(choice: Choice): void {
    this.reply?.said(choice);
    if (!this.ended && this.choicesMade.every(({ hasEnded }) => hasEnded)) {
      this.end();
      this.reply?.finished();
    }
  }

  leave(): void {
    this.end();
    for (const choice of this.choicesMade) {
      this.engine.remove(choice);
    }
  }

  fail(failure: Failure): void {
    if (!this.ended) {
      this.leave();
      this.reply?.failed(failure);
    }
  }

  abort(): void {
    if (this.ended) {
      return;
    }
    this.leave();
    if (this.completionTokens === 0) {
      this.reply?.expelled();
      return;
    }
    for (const choice of this.choicesMade) {
      if (!choice.hasEnded) {
        choice.end('abort');
        this.reply?.said(choice);
      }
    }
    this.reply?.finished();
  }

  mute(): void {
    this.leave();
    this.reply = null;
  }

  private end(): void {
    if (!this.ended) {
      this.ended = true;
      this.onEnd(this);
    }
  }
}
