import { type Logprob, tokenLogprob } from './logprobs.ts';
import type { Sampling } from './sampling.ts';
import type { Script, Token } from './script.ts';
import type { Job } from './sequence.ts';
import { type Delta, Speech } from './speech.ts';
import { MARKS, type Tokenizer } from './tokenizer.ts';

/** Why a choice ended. */
export type Finish = 'stop' | 'length' | 'abort';

/** What a choice has said since it was last asked. */
export interface Said {
  readonly deltas: readonly Delta[];
  readonly ids: readonly number[];
  readonly logprobs: readonly Logprob[];
}

/** One answer in the making: says its script token by token, as the engine asks, and knows when to stop. */
export class Choice implements Job {
  readonly index: number;
  readonly promptIds: readonly number[];
  readonly salt: string;
  readonly priority: number;
  readonly capTokens: number;
  completionTokens = 0;
  cachedTokens = 0;
  preemptions = 0;
  readonly times = { arrivedMs: 0, scheduledMs: 0, firstTokenMs: 0, lastTokenMs: 0 };
  /** Why it ended, as the caller is told. */
  finish: Finish | null = null;
  hasEnded = false;
  stopReason: string | number | null = null;
  private readonly tokenizer: Tokenizer;
  private readonly sampling: Sampling;
  private readonly script: Script;
  private readonly topLogprobs: number | null;
  private readonly nowMs: () => number;
  private readonly onSaid: (choice: Choice) => void;
  private readonly speech: Speech;
  private ids: number[] = [];
  private logprobs: Logprob[] = [];

  constructor(
    place: { index: number; promptIds: readonly number[]; capTokens: number },
    sampling: Sampling,
    topLogprobs: number | null,
    tools: { tokenizer: Tokenizer; script: Script },
    nowMs: () => number,
    onSaid: (choice: Choice) => void,
  ) {
    this.index = place.index;
    this.promptIds = place.promptIds;
    this.capTokens = place.capTokens;
    this.salt = sampling.salt;
    this.priority = sampling.priority;
    this.sampling = sampling;
    this.topLogprobs = topLogprobs;
    this.tokenizer = tools.tokenizer;
    this.script = tools.script;
    this.speech = new Speech(sampling.stopTexts, sampling.includeStop);
    this.nowMs = nowMs;
    this.onSaid = onSaid;
    this.times.arrivedMs = nowMs();
  }

  /** Everything said, tool calls written out. */
  get raw(): string {
    return this.speech.raw;
  }

  get calledTools(): boolean {
    return this.speech.calledTools;
  }

  /** Takes what was said since the last time. */
  take(): Said {
    const said = { deltas: this.speech.take(), ids: this.ids, logprobs: this.logprobs };
    this.ids = [];
    this.logprobs = [];
    return said;
  }

  onScheduled(cachedTokens: number): void {
    this.cachedTokens = cachedTokens;
    this.times.scheduledMs = this.nowMs();
  }

  onPreempted(): void {
    this.preemptions += 1;
  }

  sample(): { id: number; finished: boolean } {
    const next = this.script.next();
    const id = next.done === true ? MARKS.end : next.value.id;
    this.completionTokens += 1;
    this.ids.push(id);
    this.times.lastTokenMs = this.nowMs();
    this.times.firstTokenMs ||= this.times.lastTokenMs;
    if (next.done === true) {
      this.end('stop');
    } else {
      this.say(next.value);
    }
    if (!this.hasEnded && this.completionTokens >= this.capTokens) {
      this.end('length');
    }
    this.onSaid(this);
    return { id, finished: this.hasEnded };
  }

  /** Ends the choice from outside. */
  end(finish: Finish): void {
    this.finish = finish;
    this.hasEnded = true;
    this.speech.end();
  }

  private say(token: Token): void {
    const { minTokens, stopIds } = this.sampling;
    if (this.topLogprobs !== null) {
      this.logprobs.push(tokenLogprob(this.tokenizer, token.id, this.completionTokens, this.topLogprobs));
    }
    const heedStops = this.completionTokens > minTokens;
    const stopText = this.speech.say(token, heedStops);
    if (stopText !== null) {
      this.stopReason = stopText;
      this.end('stop');
    } else if (heedStops && stopIds.includes(token.id)) {
      this.stopReason = token.id;
      this.speech.unsay();
      this.end('stop');
    }
  }
}
