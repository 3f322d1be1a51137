/** Closed calls that are settled together. */

/** A call to settle: its text by record.ts, and where its journal begins. */
export interface ClosedCall {
  readonly text: string;
  readonly segment: number | null;
}

const FIRST_BYTES = 16 * 1024;
/** A character's in UTF-8. */
const CHARACTER_BYTES_MAX = 3;
const COMMA = 0x2c;

/**
 * The records as the bytes of a list. As strings, thousands that wait for their commit would be moved at each collection of young garbage, would
 * grow old, and would be what full collections are for.
 */
export class Batch {
  /** Resolved when it is to fill no longer. */
  readonly wanted = Promise.withResolvers<'wanted'>();
  readonly committed = Promise.withResolvers<void>();
  /** How many of its calls have their journal begin in each segment. */
  readonly segments = new Map<number, number>();
  /** Each record with a comma behind it. */
  #bytes = Buffer.allocUnsafeSlow(FIRST_BYTES);
  /** Where each record begins, and where the next one will. */
  readonly #starts = [0];

  /** Its calls. */
  get size(): number {
    return this.#starts.length - 1;
  }

  add({ text, segment }: ClosedCall): void {
    const at = this.#starts[this.size] ?? 0;
    this.#reserve(at + text.length * CHARACTER_BYTES_MAX + 1);
    const end = at + this.#bytes.write(text, at);
    this.#bytes[end] = COMMA;
    this.#starts.push(end + 1);
    if (segment !== null) this.segments.set(segment, (this.segments.get(segment) ?? 0) + 1);
  }

  /** The JSON list of the records from one of them up to another. */
  list(from: number, to: number): string {
    return `[${this.#text(from, to)}]`;
  }

  record(at: number): string {
    return this.#text(at, at + 1);
  }

  #text(from: number, to: number): string {
    return this.#bytes.toString('utf8', this.#starts[from], (this.#starts[to] ?? 0) - 1);
  }

  #reserve(length: number): void {
    let bytes = this.#bytes.length;
    if (length <= bytes) return;
    while (bytes < length) bytes *= 2;
    const grown = Buffer.allocUnsafeSlow(bytes);
    this.#bytes.copy(grown);
    this.#bytes = grown;
  }
}
