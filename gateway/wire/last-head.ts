import { lengthOf } from './fields.ts';

const LENGTH = /\r\ncontent-length: *\d/i;

/**
 * The head that a connection brought last, and what it says. Clients and engines repeat theirs, but for how long the body is: such a head is not
 * read again, which for the twenty lines of a stock client is a good part of a call.
 */
export class LastHead<Said> {
  #said: Said | null = null;
  /** What stands before the digits of its length, and after them. */
  #before = '';
  #after = '';
  #hasLength = false;
  #length: number | null = null;

  /** A head whose lines are well-formed, its length given once at most. `said` is not to depend on the length. */
  remember(head: string, said: Said): void {
    const line = LENGTH.exec(head);
    const at = line === null ? head.length : line.index + line[0].length - 1;
    this.#hasLength = line !== null;
    this.#before = head.slice(0, at);
    this.#after = line === null ? '' : head.slice(head.indexOf('\r', at));
    this.#said = said;
  }

  /** What the last one said, where this one says the same in the same words; otherwise null. */
  repeated(head: string): Said | null {
    if (this.#said === null || !head.startsWith(this.#before) || !head.endsWith(this.#after)) return null;
    const digits = head.slice(this.#before.length, head.length - this.#after.length);
    this.#length = lengthOf(digits);
    const isSame = this.#hasLength ? this.#length !== null : digits === '';
    return isSame ? this.#said : null;
  }

  /** The length in the one that was repeated, or null where none has any. */
  get length(): number | null {
    return this.#length;
  }
}
