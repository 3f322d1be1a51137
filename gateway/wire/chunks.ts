/** Chunked transfer coding, RFC 9112, §7.1: extensions and trailers are read over. */
import { WireError } from './wire-error.ts';

/** Of a size: far more than any answer, far less than what a double counts exactly. */
const SIZE_DIGITS_MAX = 12;
/** Of the extensions of one chunk, or of all trailers together. */
const SKIPPED_BYTES_MAX = 16_384;

const CR = 0x0d;
const LF = 0x0a;

type Step =
  | 'size'
  | 'extension'
  | 'size LF'
  | 'data'
  | 'data CR'
  | 'data LF'
  | 'trailer'
  | 'trailer line'
  | 'trailer LF'
  | 'last LF'
  | 'end';

/** One body, read in pieces of any length. */
export class ChunkReader {
  /** After `read`: where the body's bytes of this piece begin and end, and where what follows the framing begins. */
  from = 0;
  to = 0;
  at = 0;
  #step: Step = 'size';
  /** Bytes of the chunk that are still to come; while its size is read, what was read of it. */
  #left = 0;
  #digits = 0;
  #skipped = 0;

  get ended(): boolean {
    return this.#step === 'end';
  }

  /**
   * Takes the framing off one piece. The bodies of several chunks are moved together in place, so that what one read brought
   * stays one piece. Throws `WireError`.
   */
  read(bytes: Buffer, at: number): void {
    this.at = at;
    this.from = at;
    this.to = at;
    while (this.at < bytes.length && this.#step !== 'end') {
      if (this.#step === 'data') this.#take(bytes);
      else this.#step = this.#after(bytes[this.at++] ?? 0);
    }
  }

  #take(bytes: Buffer): void {
    const end = Math.min(this.at + this.#left, bytes.length);
    this.#left -= end - this.at;
    if (this.from === this.to) this.from = this.to = this.at;
    else if (this.to !== this.at) bytes.copyWithin(this.to, this.at, end);
    this.to += end - this.at;
    this.at = end;
    if (this.#left === 0) this.#step = 'data CR';
  }

  /** Where a byte of the framing leads. */
  #after(byte: number): Step {
    switch (this.#step) {
      case 'size':
        return this.#afterSize(byte);
      case 'extension':
        return byte === CR ? 'size LF' : this.#skip(byte, 'extension');
      case 'size LF':
        return this.#require(byte, LF, this.#left === 0 ? 'trailer' : 'data');
      case 'data CR':
        return this.#require(byte, CR, 'data LF');
      case 'data LF':
        this.#digits = 0;
        this.#skipped = 0;
        return this.#require(byte, LF, 'size');
      case 'trailer':
        return byte === CR ? 'last LF' : this.#skip(byte, 'trailer line');
      case 'trailer line':
        return byte === CR ? 'trailer LF' : this.#skip(byte, 'trailer line');
      case 'trailer LF':
        return this.#require(byte, LF, 'trailer');
      default:
        return this.#require(byte, LF, 'end');
    }
  }

  #afterSize(byte: number): Step {
    const digit = hexDigit(byte);
    if (digit >= 0 && this.#digits < SIZE_DIGITS_MAX) {
      this.#left = this.#left * 16 + digit;
      this.#digits++;
      return 'size';
    }
    if (this.#digits > 0 && byte === CR) return 'size LF';
    // White space before an extension is no grammar of today's, and sent all the same.
    if (this.#digits > 0 && (byte === 0x3b || byte === 0x20 || byte === 0x09)) return 'extension';
    throw new WireError('a chunk has no size');
  }

  #skip(byte: number, next: Step): Step {
    if (byte === LF) throw new WireError('a bare LF in the framing of chunks');
    if (++this.#skipped > SKIPPED_BYTES_MAX) throw new WireError('too much between chunks');
    return next;
  }

  #require(byte: number, wanted: number, next: Step): Step {
    if (byte !== wanted) throw new WireError('a chunk does not end where it says');
    return next;
  }
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}
