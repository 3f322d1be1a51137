import { type Block, type BlockPool, saltHash } from './blocks.ts';
import { hashIds } from './random.ts';

/** One sequence to generate, as the engine sees it. */
export interface Job {
  readonly promptIds: readonly number[];
  /** Tenants with different salts share no prefix. */
  readonly salt: string;
  /** Lower runs first where the policy heeds it. */
  readonly priority: number;
  /** Told once, when the job first gets a slot: how much of its prompt was found in the cache. */
  onScheduled(cachedTokens: number): void;
  /** Told when the job has to give up its blocks and start again. */
  onPreempted(): void;
  /** Asked for the next token, at the end of a step; an id of null is no token (an embedding is ready). */
  sample(): { id: number | null; finished: boolean };
}

/** A job with its tokens, and the blocks that hold what is computed of them. */
export class Sequence {
  readonly job: Job;
  /** Prompt and answer. */
  readonly ids: number[];
  /** How many of the ids are computed. */
  computed = 0;
  /** Whether it ever had a slot. */
  met = false;
  private readonly pool: BlockPool;
  private blocks: Block[] = [];
  private published = 0;
  private lastHash = 0;

  constructor(job: Job, pool: BlockPool) {
    this.job = job;
    this.pool = pool;
    this.ids = [...job.promptIds];
  }

  /** Tokens that are known and not computed. */
  get due(): number {
    return this.ids.length - this.computed;
  }

  /** Takes the blocks of the longest known prefix, which need not be computed. */
  matchPrefix(): void {
    this.blocks = this.pool.matchPrefix(this.ids, this.job.salt);
    this.published = this.blocks.length;
    this.lastHash = this.blocks.at(-1)?.hash ?? saltHash(this.job.salt);
    this.computed = this.published * this.pool.blockSize;
  }

  /** Takes the blocks that so many more tokens need; false, and none taken, when there is no room. */
  reserve(tokens: number): boolean {
    const needed = Math.ceil((this.computed + tokens) / this.pool.blockSize) - this.blocks.length;
    const blocks = needed > 0 ? this.pool.allocate(needed) : [];
    if (blocks === null) {
      return false;
    }
    this.blocks.push(...blocks);
    return true;
  }

  /** Counts tokens as computed and makes the blocks that they fill findable. */
  compute(tokens: number): void {
    this.computed += tokens;
    const { blockSize } = this.pool;
    for (let end = (this.published + 1) * blockSize; end <= this.computed; end += blockSize) {
      this.lastHash = hashIds(this.ids, this.lastHash, end - blockSize, end);
      const block = this.blocks[this.published];
      if (block !== undefined) {
        this.pool.publish(block, this.lastHash);
      }
      this.published += 1;
    }
  }

  /** Gives all blocks back. */
  forget(): void {
    this.pool.release(this.blocks);
    this.blocks = [];
    this.computed = 0;
  }
}
