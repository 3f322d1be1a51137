const FIRST_PAGE_BYTES = 1_024;
const PAGE_BYTES_MAX = 64 * 1_024;

/** Bytes kept one after the other in memory of their own: a piece of a network buffer would keep the whole buffer alive. */
export class ByteLog {
  readonly #pages: Buffer[] = [];
  #free = 0;
  #nextPageBytes = FIRST_PAGE_BYTES;

  /** What `append` of this many bytes would allocate. */
  growth(bytes: number): number {
    return bytes <= this.#free ? 0 : Math.max(bytes - this.#free, this.#nextPageBytes);
  }

  append(bytes: Uint8Array): void {
    const last = this.#pages.at(-1);
    const fits = Math.min(this.#free, bytes.length);
    if (last !== undefined && fits > 0) last.set(bytes.subarray(0, fits), last.length - this.#free);
    const growth = this.growth(bytes.length);
    this.#free -= fits;
    if (growth === 0) return;
    const page = Buffer.allocUnsafeSlow(growth);
    page.set(bytes.subarray(fits));
    this.#pages.push(page);
    this.#free = growth - (bytes.length - fits);
    this.#nextPageBytes = Math.min(this.#nextPageBytes * 2, PAGE_BYTES_MAX);
  }

  /** All of it, in order. */
  read(): Uint8Array[] {
    const full = this.#pages.slice(0, -1);
    const last = this.#pages.at(-1);
    return last === undefined ? [] : [...full, last.subarray(0, last.length - this.#free)];
  }
}
