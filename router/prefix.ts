/**
 * What each worker's prefix cache is likely to hold, mirrored here: a prompt is a chain of blocks of bytes, a block's key contains all
 * that stands before it, and a worker that was sent a chain is expected to know it until newer ones push it out. No tokenizer is
 * needed. A key has 32 bits: a false match is rare (in a mirror of 16,384 blocks 4 in a million) and costs a worse guess, no answer.
 */
import { crc32 } from 'node:zlib';
import { BlockList } from './block-list.ts';
import { PrefixIndex } from './prefix-index.ts';

/** A prompt as its chain of keys. */
export interface Prefix {
  readonly keys: Int32Array;
  /** How long the prompt is at the end of each block, and in all. The unit is the maker's: bytes here. */
  readonly ends: Int32Array;
  readonly length: number;
}

/** Blocks get longer as a prompt goes on, at the same places in every prompt: what is lost by the last one stays a small share. Less has none. */
export const BLOCK_BYTES = 1_024;
const LONG_BLOCK_BYTES = 4_096;
const SHORT_BLOCKS = 16;
/** A token has about four bytes. */
const TOKEN_BYTES = 4;
/** Of a worker's cache, what is counted on; the rest is running answers. */
const COUNTED_SHARE = 0.8;
/** Of one mirror, whatever the worker's memory: bounds ours. */
const BLOCKS_MAX = 16_384;
/** Missing more of what was expected than this, so many times in a row, means that the cache was lost. */
const MISSED_SHARE = 0.25;
const MISSES_MAX = 2;
const EXPECTED_TOKENS_MIN = 256;
const NO_BLOCKS = new Int32Array(0);

/** Where the blocks of a prompt end that is so many bytes long. */
function blockEnds(bytes: number): Int32Array {
  const ends: number[] = [];
  for (let end = BLOCK_BYTES; end <= bytes; end += ends.length < SHORT_BLOCKS ? BLOCK_BYTES : LONG_BLOCK_BYTES)
    ends.push(end);
  return Int32Array.from(ends);
}

/** The chain of a prompt given in pieces. What one tenant's cache holds is no use to another: `salt` keeps their chains apart. */
export function prefixOf(salt: string, pieces: readonly Uint8Array[]): Prefix {
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  if (length < BLOCK_BYTES) return { keys: NO_BLOCKS, ends: NO_BLOCKS, length };
  const ends = blockEnds(length);
  const keys = new Int32Array(ends.length);
  let chain = crc32(salt);
  let begun = 0;
  let block = 0;
  for (const piece of pieces) {
    let at = 0;
    while (at < piece.length && block < ends.length) {
      const end = Math.min(piece.length, (ends[block] ?? 0) - begun);
      chain = crc32(piece.subarray(at, end), chain);
      at = end;
      if (begun + end === ends[block]) keys[block++] = chain;
    }
    begun += piece.length;
  }
  return { keys, ends, length };
}

/** Of a prompt, the share that so many blocks from its beginning make up, 0 to 1. */
export function shareOf({ ends, length }: Prefix, blocks: number): number {
  return blocks === 0 ? 0 : (ends[blocks - 1] ?? 0) / length;
}

/** The blocks that one worker is expected to hold. */
export class PrefixMirror {
  #blocks = new BlockList();
  /** Told of every block that comes or goes. */
  #index: PrefixIndex;
  #place: number;
  #lengthMax = 0;
  #misses = 0;

  constructor(index = new PrefixIndex()) {
    this.#index = index;
    this.#place = index.enter();
  }

  /** Where `PrefixIndex.knownBlocks` tells what it knows. */
  get place(): number {
    return this.#place;
  }

  /** `cacheTokens` is what the worker can hold. */
  resize(cacheTokens: number): void {
    this.#lengthMax = COUNTED_SHARE * cacheTokens * TOKEN_BYTES;
    this.#trim();
  }

  /** How many blocks are remembered. */
  get size(): number {
    return this.#blocks.size;
  }

  /** Share of the prompt that the worker is expected to know, 0 to 1. */
  knownShare(prefix: Prefix): number {
    return shareOf(prefix, this.knownBlocks(prefix));
  }

  /** How many blocks of it, from its beginning: a chain is forgotten from its end on. */
  knownBlocks({ keys }: Prefix): number {
    if (keys.length === 0 || !this.#blocks.has(keys[0] ?? 0)) return 0;
    let known = 1;
    let unknown = keys.length + 1;
    while (known + 1 < unknown) {
      const middle = (known + unknown) >> 1;
      if (this.#blocks.has(keys[middle - 1] ?? 0)) known = middle;
      else unknown = middle;
    }
    return known;
  }

  /** The worker was sent this prompt. The first block becomes the newest: the engine too forgets a chain from its end. */
  add({ keys, ends }: Prefix): void {
    for (let index = keys.length - 1; index >= 0; index--) {
      const key = keys[index] ?? 0;
      const length = (ends[index] ?? 0) - (ends[index - 1] ?? 0);
      if (this.#blocks.use(key, length)) this.#index.add(key, this.#place);
    }
    this.#trim();
  }

  /** The worker says what it knew; less than expected means evictions or a restart. */
  correct(expectedTokens: number, actualTokens: number): void {
    if (expectedTokens < EXPECTED_TOKENS_MIN) return;
    if (expectedTokens - actualTokens <= MISSED_SHARE * expectedTokens) this.#misses = 0;
    else if (++this.#misses >= MISSES_MAX) this.clear();
  }

  clear(): void {
    for (const key of this.#blocks.keys()) this.#index.delete(key, this.#place);
    this.#blocks = new BlockList();
    this.#misses = 0;
  }

  /** Its worker is gone from the fleet: nothing of it may stay in the fleet's index. */
  leave(): void {
    this.clear();
    this.#index.leave(this.#place);
    this.#index = new PrefixIndex();
    this.#place = this.#index.enter();
  }

  #trim(): void {
    while (this.#blocks.size > BLOCKS_MAX || this.#blocks.length > this.#lengthMax) {
      const key = this.#blocks.takeOldest();
      if (key === null) return;
      this.#index.delete(key, this.#place);
    }
  }
}
