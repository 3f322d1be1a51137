import { StringDecoder } from 'node:string_decoder';
import type { Job } from './engine.ts';
import { type Logprob, tokenLogprob } from './logprobs.ts';
import type { Sampling } from './sampling.ts';
import type { Script, Token } from './script.ts';
import { MARKS, type Tokenizer } from './tokenizer.ts';

/** Why a choice ended. */
export type Finish = 'stop' | 'length' | 'abort';

/** Text that goes to the caller, in order: content, reasoning, the name of a call, or a piece of its arguments. */
export type Delta =
  | { readonly kind: 'content' | 'reasoning'; text: string }
  | { readonly kind: 'call'; readonly call: number; readonly name: string }
  | { readonly kind: 'arguments'; readonly call: number; text: string };

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
  calledTools = false;
  stopReason: string | number | null = null;
  /** Everything said, tool calls written out. */
  raw = '';
  private readonly tokenizer: Tokenizer;
  private readonly sampling: Sampling;
  private readonly script: Script;
  private readonly topLogprobs: number | null;
  private readonly nowMs: () => number;
  private readonly onSaid: (choice: Choice) => void;
  private checked = 0;
  private decoder: StringDecoder | null = null;
  private held: Delta[] = [];
  private deltas: Delta[] = [];
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
    this.nowMs = nowMs;
    this.onSaid = onSaid;
    this.times.arrivedMs = nowMs();
  }

  /** Takes what was said since the last time. */
  take(): Said {
    const said = { deltas: this.deltas, ids: this.ids, logprobs: this.logprobs };
    this.deltas = [];
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
    this.deltas.push(...this.held);
    this.held = [];
  }

  private say(token: Token): void {
    if (this.topLogprobs !== null) {
      this.logprobs.push(tokenLogprob(this.tokenizer, token.id, this.completionTokens, this.topLogprobs));
    }
    const text = this.textOf(token.piece);
    this.raw += text;
    if (token.channel === 'content' || token.channel === 'reasoning') {
      this.append({ kind: token.channel, text });
    } else if (token.channel === 'arguments') {
      this.append({ kind: 'arguments', call: token.call, text });
    }
    if (token.opens !== null) {
      this.calledTools = true;
      this.append({ kind: 'call', call: token.call, name: token.opens });
    }
    this.checkStop(token);
  }

  /** Bytes that are no whole character yet are kept for the next token. */
  private textOf(piece: string | Uint8Array): string {
    if (typeof piece === 'string' && this.decoder === null) {
      return piece;
    }
    this.decoder ??= new StringDecoder('utf8');
    return this.decoder.write(Buffer.from(piece));
  }

  private append(delta: Delta): void {
    if ('text' in delta && delta.text === '') {
      return;
    }
    const queue = this.sampling.stopTexts.length > 0 ? this.held : this.deltas;
    const last = queue.at(-1);
    const joins = last?.kind === delta.kind && 'text' in last && 'text' in delta;
    if (joins && (delta.kind !== 'arguments' || (last.kind === 'arguments' && last.call === delta.call))) {
      last.text += delta.text;
    } else {
      queue.push(delta);
    }
  }

  private checkStop(token: Token): void {
    const { stopTexts, stopIds, minTokens } = this.sampling;
    const heeded = this.completionTokens > minTokens;
    if (heeded && stopIds.includes(token.id)) {
      this.stopReason = token.id;
      this.cut(this.textLength(token.piece));
      this.end('stop');
      return;
    }
    if (stopTexts.length === 0) {
      return;
    }
    const found = heeded ? this.findStop() : null;
    if (found === null) {
      this.releaseHeld();
      return;
    }
    this.stopReason = found.text;
    this.cut(this.raw.length - found.at - (this.sampling.includeStop ? found.text.length : 0));
    this.end('stop');
  }

  private textLength(piece: string | Uint8Array): number {
    return typeof piece === 'string' ? piece.length : 0;
  }

  /** The earliest stop text that the newest token completed. */
  private findStop(): { at: number; text: string } | null {
    let found: { at: number; text: string } | null = null;
    for (const text of this.sampling.stopTexts) {
      const at = this.raw.indexOf(text, Math.max(this.checked - text.length + 1, 0));
      if (at >= 0 && (found === null || at < found.at)) {
        found = { at, text };
      }
    }
    this.checked = this.raw.length;
    return found;
  }

  /** Drops characters from the end of what was said. */
  private cut(characters: number): void {
    const queue = this.sampling.stopTexts.length > 0 ? this.held : this.deltas;
    this.raw = this.raw.slice(0, this.raw.length - characters);
    let left = characters;
    while (left > 0) {
      const last = queue.at(-1);
      if (last === undefined || !('text' in last)) {
        return;
      }
      const dropped = Math.min(left, last.text.length);
      last.text = last.text.slice(0, last.text.length - dropped);
      left -= dropped;
      if (last.text === '') {
        queue.pop();
      }
    }
  }

  /** Lets go of text that can no longer be the beginning of a stop text. */
  private releaseHeld(): void {
    let keep = Math.max(...this.sampling.stopTexts.map((text) => text.length)) - 1;
    const kept: Delta[] = [];
    while (keep > 0) {
      const last = this.held.pop();
      if (last === undefined) {
        break;
      }
      if (!('text' in last) || last.text.length <= keep) {
        keep -= 'text' in last ? last.text.length : 0;
        kept.unshift(last);
      } else {
        kept.unshift({ ...last, text: last.text.slice(-keep) });
        this.held.push({ ...last, text: last.text.slice(0, -keep) });
        break;
      }
    }
    this.deltas.push(...this.held);
    this.held = kept;
  }
}
