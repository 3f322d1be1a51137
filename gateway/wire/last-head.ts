import { LENGTH_DIGITS_MAX } from './fields.ts';

const LENGTH = /\r\ncontent-length: *\d/i;
const ZERO = 0x30;
const NINE = 0x39;
const NOTHING = Buffer.alloc(0);

/**
 * The head that a connection brought last, and what it says. Clients and engines repeat theirs, but for how long the body is: such a head is not
 * read again, which for the twenty lines of a stock client is a good part of a call.
 */
export class LastHead<Said> {
  /** Of the head that was repeated: where it ends, and its length, 0 where none has any. */
  end = 0;
  length = 0;
  #said: Said | null = null;
  /** What stands before the digits of its length, and after them. */
  #before: Buffer = NOTHING;
  #after: Buffer = NOTHING;

  /** A head whose lines are well-formed, its length given once at most. `said` is not to depend on the length. */
  remember(head: string, said: Said): void {
    const line = LENGTH.exec(head);
    const at = line === null ? head.length : line.index + line[0].length - 1;
    this.#before = Buffer.from(head.slice(0, at), 'latin1');
    this.#after = line === null ? NOTHING : Buffer.from(head.slice(head.indexOf('\r', at)), 'latin1');
    this.#said = said;
  }

  /** What the last one said, where these bytes begin with the same in the same words; otherwise null. */
  repeated(bytes: Buffer): Said | null {
    if (this.#said === null || !follows(bytes, 0, this.#before)) return null;
    const digitsAt = this.#before.length;
    if (this.#after.length === 0) {
      this.end = digitsAt;
      this.length = 0;
      return this.#said;
    }
    const digitsEnd = this.#readLength(bytes, digitsAt);
    if (digitsEnd === digitsAt || !follows(bytes, digitsEnd, this.#after)) return null;
    this.end = digitsEnd + this.#after.length;
    return this.#said;
  }

  /** Answers where its digits end. */
  #readLength(bytes: Buffer, from: number): number {
    let at = from;
    this.length = 0;
    for (; at < bytes.length && at - from < LENGTH_DIGITS_MAX; at++) {
      const digit = bytes[at] ?? 0;
      if (digit < ZERO || digit > NINE) break;
      this.length = this.length * 10 + digit - ZERO;
    }
    return at;
  }
}

function follows(bytes: Buffer, at: number, part: Buffer): boolean {
  return at + part.length <= bytes.length && bytes.compare(part, 0, part.length, at, at + part.length) === 0;
}
