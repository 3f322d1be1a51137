import { StringDecoder } from 'node:string_decoder';
import type { Token } from './script.ts';

/** Text that goes to the caller, in order: content, reasoning, the name of a call, or a piece of its arguments. */
export type Delta =
  | { readonly kind: 'content' | 'reasoning'; text: string }
  | { readonly kind: 'call'; readonly call: number; readonly name: string }
  | { readonly kind: 'arguments'; readonly call: number; text: string };

/**
 * Puts tokens together to the text that the caller gets. Bytes that are no whole character yet wait for the next token,
 * and so does text that may turn out to be the beginning of a stop text.
 */
export class Speech {
  /** Everything said, tool calls written out. */
  raw = '';
  calledTools = false;
  private readonly stopTexts: readonly string[];
  private readonly includeStop: boolean;
  /** Characters that wait: one less than the longest stop text has. */
  private readonly heldLength: number;
  private decoder: StringDecoder | null = null;
  private searched = 0;
  private lastText = '';
  private held: Delta[] = [];
  private deltas: Delta[] = [];

  constructor(stopTexts: readonly string[], includeStop: boolean) {
    this.stopTexts = stopTexts;
    this.includeStop = includeStop;
    this.heldLength = Math.max(0, ...stopTexts.map((text) => text.length - 1));
  }

  /** Says a token. Returns the stop text that it completed, whose end is the end of the speech, if stops are heeded. */
  say(token: Token, heedStops: boolean): string | null {
    this.lastText = this.textOf(token.piece);
    this.raw += this.lastText;
    if (token.channel === 'arguments') {
      this.append({ kind: 'arguments', call: token.call, text: this.lastText });
    } else if (token.channel !== 'hidden') {
      this.append({ kind: token.channel, text: this.lastText });
    }
    if (token.opens !== null) {
      this.calledTools = true;
      this.append({ kind: 'call', call: token.call, name: token.opens });
    }
    const stop = heedStops ? this.findStop() : null;
    if (stop === null) {
      this.release(this.heldLength);
      return null;
    }
    this.cut(this.raw.length - stop.at - (this.includeStop ? stop.text.length : 0));
    return stop.text;
  }

  /** Takes back the newest token: it was a stop token. */
  unsay(): void {
    this.cut(this.lastText.length);
  }

  /** Lets go of what waits: nothing follows. */
  end(): void {
    this.release(0);
  }

  /** What was said since the last time. */
  take(): readonly Delta[] {
    const { deltas } = this;
    this.deltas = [];
    return deltas;
  }

  private textOf(piece: string | Uint8Array): string {
    if (typeof piece === 'string' && this.decoder === null) {
      return piece;
    }
    this.decoder ??= new StringDecoder('utf8');
    return this.decoder.write(Buffer.from(piece));
  }

  /** New text goes to the end of what waits; `release` decides how much of it goes on. */
  private append(delta: Delta): void {
    if ('text' in delta && delta.text === '') {
      return;
    }
    join(this.held, delta);
  }

  /** The earliest stop text that the newest token completed. */
  private findStop(): { at: number; text: string } | null {
    let found: { at: number; text: string } | null = null;
    for (const text of this.stopTexts) {
      const at = this.raw.indexOf(text, Math.max(this.searched - text.length + 1, 0));
      if (at >= 0 && (found === null || at < found.at)) {
        found = { at, text };
      }
    }
    this.searched = this.raw.length;
    return found;
  }

  /** Drops characters from the end. */
  private cut(characters: number): void {
    this.raw = this.raw.slice(0, this.raw.length - characters);
    for (let left = characters; left > 0; ) {
      const queue = this.held.length > 0 ? this.held : this.deltas;
      const last = queue.at(-1);
      if (last === undefined || !('text' in last)) {
        return;
      }
      const kept = last.text.slice(0, Math.max(last.text.length - left, 0));
      left -= last.text.length - kept.length;
      last.text = kept;
      if (kept === '') {
        queue.pop();
      }
    }
  }

  /** Lets go of all that waits but the last `keep` characters. */
  private release(keep: number): void {
    let left = keep;
    const kept: Delta[] = [];
    while (left > 0) {
      const last = this.held.pop();
      if (last === undefined) {
        break;
      }
      if ('text' in last && last.text.length > left) {
        kept.unshift({ ...last, text: last.text.slice(-left) });
        this.held.push({ ...last, text: last.text.slice(0, -left) });
        break;
      }
      left -= 'text' in last ? last.text.length : 0;
      kept.unshift(last);
    }
    for (const delta of this.held) {
      join(this.deltas, delta);
    }
    this.held = kept;
  }
}

/** Adds a delta to a queue, as part of the last one where both are the same kind of text. */
function join(queue: Delta[], delta: Delta): void {
  const last = queue.at(-1);
  const sameCall = last?.kind !== 'arguments' || (delta.kind === 'arguments' && last.call === delta.call);
  if (last?.kind === delta.kind && 'text' in last && 'text' in delta && sameCall) {
    last.text += delta.text;
  } else {
    queue.push(delta);
  }
}
