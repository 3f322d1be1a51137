/**
 * What each worker's prefix cache is likely to hold, mirrored here: a prompt is a chain of blocks of bytes, a block's key contains all
 * that stands before it, and a worker that was sent a chain is expected to know it until newer ones push it out. No tokenizer is
 * needed. A key has 32 bits: a false match is rare (a mirror of 16,384 blocks: 4 in a million) and costs a worse guess, no answer.
 */
import { crc32 } from 'node:zlib';

/** A prompt as its chain of keys. */
export interface Prefix {
  readonly keys: Int32Array;
  /** Share of the prompt that one block is. */
  readonly blockShare: number;
}

const BLOCK_BYTES = 512;
/** A token has about four bytes. */
const BLOCK_TOKENS = BLOCK_BYTES / 4;
/** Of a worker's cache, what is counted on; the rest is running answers. */
const COUNTED_SHARE = 0.8;
/** Of one mirror, whatever the worker's memory: bounds ours. */
const BLOCKS_MAX = 16_384;
/** Missing more of what was expected than this, so many times in a row, means that the cache was lost. */
const MISSED_SHARE = 0.25;
const MISSES_MAX = 2;

/** The chain of a prompt given in pieces. What one tenant's cache holds is no use to another: `salt` keeps their chains apart. */
export function prefixOf(salt: string, pieces: readonly Uint8Array[]): Prefix {
  let bytes = 0;
  let chain = crc32(salt);
  const keys: number[] = [];
  for (const piece of pieces) {
    bytes += piece.length;
    let at = 0;
    for (; at + BLOCK_BYTES <= piece.length; at += BLOCK_BYTES) {
      chain = crc32(piece.subarray(at, at + BLOCK_BYTES), chain);
      keys.push(chain | 0);
    }
    // The rest of a piece that another follows belongs to the next block.
    if (piece !== pieces.at(-1)) chain = crc32(piece.subarray(at), chain);
  }
  return { keys: Int32Array.from(keys), blockShare: bytes === 0 ? 0 : BLOCK_BYTES / bytes };
}

/** The blocks that one worker is expected to hold, the longest unused first. */
export class PrefixMirror {
  readonly #blocks = new Set<number>();
  #blocksMax = 0;
  #misses = 0;

  /** `cacheTokens` is what the worker can hold. */
  resize(cacheTokens: number): void {
    this.#blocksMax = Math.min(BLOCKS_MAX, Math.floor((COUNTED_SHARE * cacheTokens) / BLOCK_TOKENS));
    this.#trim();
  }

  get size(): number {
    return this.#blocks.size;
  }

  /** Share of the prompt that the worker is expected to know, 0 to 1. */
  knownShare({ keys, blockShare }: Prefix): number {
    // A chain is forgotten from its end on, so what is known of it is its beginning.
    let known = 0;
    let unknown = keys.length + 1;
    if (keys.length > 0 && !this.#blocks.has(keys[0] ?? 0)) return 0;
    while (known + 1 < unknown) {
      const middle = (known + unknown) >> 1;
      if (this.#blocks.has(keys[middle - 1] ?? 0)) known = middle;
      else unknown = middle;
    }
    return known * blockShare;
  }

  /** The worker was sent this prompt. The first block becomes the newest: the engine too forgets a chain from its end. */
  add({ keys }: Prefix): void {
    for (let index = Math.min(keys.length, this.#blocksMax) - 1; index >= 0; index--) {
      const key = keys[index] ?? 0;
      this.#blocks.delete(key);
      this.#blocks.add(key);
    }
    this.#trim();
  }

  /** The worker says what it knew; less than expected means evictions or a restart. */
  correct(expectedTokens: number, actualTokens: number): void {
    if (expectedTokens < BLOCK_TOKENS) return;
    if (expectedTokens - actualTokens <= MISSED_SHARE * expectedTokens) this.#misses = 0;
    else if (++this.#misses >= MISSES_MAX) this.clear();
  }

  clear(): void {
    this.#blocks.clear();
    this.#misses = 0;
  }

  #trim(): void {
    for (const key of this.#blocks) {
      if (this.#blocks.size <= this.#blocksMax) return;
      this.#blocks.delete(key);
    }
  }
}
