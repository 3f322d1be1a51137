/**
 * Cuts a server-sent event stream into frames, as text.
 * Every character received is in exactly one frame, in order, so that frames can be passed on unchanged.
 */

/** One event as it stood on the wire, its closing blank line included. */
export interface Frame {
  readonly text: string;
  /** The joined `data` lines; null for a frame of comments, other fields, or blank lines alone. */
  readonly data: string | null;
}

/** The longest unfinished frame that is buffered. */
export const MAX_FRAME_BYTES = 8 * 1024 * 1024;

/** The stream cannot be read as server-sent events of a reasonable size. */
export class MalformedStream extends Error {
  override readonly name = 'MalformedStream';
}

const LF = 10;
const CR = 13;
const utf8 = new TextDecoder('utf-8', { fatal: true });

/** Collects reads of any size into frames. */
export class FrameSplitter {
  /** Bytes of an unfinished frame from earlier reads; capacity grows by doubling. */
  #pending = new Uint8Array(0);
  #pendingLength = 0;
  /** Length of the line that the next byte continues, and its last byte when that was one CR alone. */
  #lineLength = 0;
  #lineIsCr = false;
  /** Lines with content in the frame so far. */
  #lines = 0;

  /** The frames that this read finished. Throws MalformedStream. */
  push(chunk: Uint8Array): Frame[] {
    const frames: Frame[] = [];
    let frameStart = 0;
    let lineStart = 0;
    for (let lf = chunk.indexOf(LF); lf !== -1; lf = chunk.indexOf(LF, lineStart)) {
      const length = this.#lineLength + lf - lineStart;
      const blank = length === 0 || (length === 1 && (this.#lineIsCr || chunk[lineStart] === CR));
      lineStart = lf + 1;
      this.#lineLength = 0;
      this.#lineIsCr = false;
      if (!blank) {
        this.#lines += 1;
        continue;
      }
      frames.push(this.#frame(chunk.subarray(frameStart, lineStart)));
      frameStart = lineStart;
    }
    if (lineStart < chunk.length) {
      this.#lineIsCr = this.#lineLength + chunk.length - lineStart === 1 && chunk[chunk.length - 1] === CR;
      this.#lineLength += chunk.length - lineStart;
    }
    if (frameStart < chunk.length) this.#keep(chunk.subarray(frameStart));
    return frames;
  }

  #frame(tail: Uint8Array): Frame {
    let bytes = tail;
    if (this.#pendingLength > 0) {
      this.#keep(tail);
      bytes = this.#pending.subarray(0, this.#pendingLength);
      this.#pending = new Uint8Array(0);
      this.#pendingLength = 0;
    }
    const lines = this.#lines;
    this.#lines = 0;
    const text = decode(bytes);
    rejectLoneCr(text);
    return { text, data: lines === 0 ? null : dataOf(text, lines) };
  }

  #keep(tail: Uint8Array): void {
    const length = this.#pendingLength + tail.length;
    if (length > MAX_FRAME_BYTES) throw new MalformedStream(`an event is longer than ${MAX_FRAME_BYTES} bytes`);
    if (length > this.#pending.length) {
      const grown = new Uint8Array(Math.max(length, 2 * this.#pending.length, 1024));
      grown.set(this.#pending.subarray(0, this.#pendingLength));
      this.#pending = grown;
    }
    this.#pending.set(tail, this.#pendingLength);
    this.#pendingLength = length;
  }
}

function dataOf(text: string, lines: number): string | null {
  if (lines === 1) return text.startsWith('data:') ? fieldValue(text.trimEnd()) : null;
  const data: string[] = [];
  for (const line of text.split('\n')) {
    if (line.startsWith('data:')) data.push(fieldValue(line.endsWith('\r') ? line.slice(0, -1) : line));
  }
  return data.length === 0 ? null : data.join('\n');
}

/** What follows `data:`, less the one space that the format allows. */
function fieldValue(line: string): string {
  return line.startsWith('data: ') ? line.slice(6) : line.slice(5);
}

function decode(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new MalformedStream('an event is not UTF-8');
  }
}

/**
 * A CR that no LF follows also ends a line for readers that go by the letter of the standard. No engine writes it; refusing
 * it means that every reader behind us sees the same events as we do.
 */
function rejectLoneCr(text: string): void {
  for (let cr = text.indexOf('\r'); cr !== -1; cr = text.indexOf('\r', cr + 1)) {
    if (text[cr + 1] !== '\n') throw new MalformedStream('an event has a carriage return without a line feed');
  }
}
