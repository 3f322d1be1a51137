import { hashIds, hashText } from './random.ts';

/** One block of the KV cache: room for `blockSize` tokens. */
export interface Block {
  hash: number | null;
  users: number;
}

/**
 * The KV cache as vLLM keeps it: blocks of tokens, full ones found again by a hash that chains over the whole prefix (and
 * the salt), shared by all who use them, and forgotten least recently used first when room is needed.
 */
export class BlockPool {
  readonly size: number;
  readonly blockSize: number;
  private readonly unused = new Set<Block>();
  private readonly byHash = new Map<number, Block>();

  constructor(size: number, blockSize: number) {
    this.size = size;
    this.blockSize = blockSize;
    for (let made = 0; made < size; made += 1) {
      this.unused.add({ hash: null, users: 0 });
    }
  }

  /** Used blocks as a share of all, 0 to 1. */
  get usage(): number {
    return (this.size - this.unused.size) / this.size;
  }

  /** The longest known prefix, as blocks already taken for the caller. At least one token is always left to compute. */
  matchPrefix(ids: readonly number[], salt: string): Block[] {
    const found: Block[] = [];
    let hash = saltHash(salt);
    for (let end = this.blockSize; end < ids.length; end += this.blockSize) {
      hash = hashIds(ids, hash, end - this.blockSize, end);
      const block = this.byHash.get(hash);
      if (block === undefined) {
        break;
      }
      this.take(block);
      found.push(block);
    }
    return found;
  }

  /** That many empty blocks, or none at all when there is no room. */
  allocate(count: number): Block[] | null {
    if (count > this.unused.size) {
      return null;
    }
    const blocks: Block[] = [];
    for (const block of this.unused) {
      if (blocks.length === count) {
        break;
      }
      if (block.hash !== null) {
        this.byHash.delete(block.hash);
        block.hash = null;
      }
      blocks.push(block);
    }
    for (const block of blocks) {
      this.take(block);
    }
    return blocks;
  }

  /** Makes a block whose tokens are all computed findable; of twins the first stays known. */
  publish(block: Block, hash: number): void {
    if (block.hash === null && !this.byHash.has(hash)) {
      block.hash = hash;
      this.byHash.set(hash, block);
    }
  }

  /** Gives blocks back; the tail of a sequence is forgotten before its head. */
  release(blocks: readonly Block[]): void {
    for (const block of blocks.toReversed()) {
      block.users -= 1;
      if (block.users === 0) {
        this.unused.add(block);
      }
    }
  }

  /** Forgets all prefixes; blocks in use stay with their users. */
  clear(): void {
    for (const block of this.byHash.values()) {
      block.hash = null;
    }
    this.byHash.clear();
  }

  private take(block: Block): void {
    block.users += 1;
    this.unused.delete(block);
  }
}

/** Where the chain of hashes begins: tenants with different salts never meet. */
export function saltHash(salt: string): number {
  return salt === '' ? 0 : hashText(salt);
}
