/** Waiting for a transfer that was sent: by its transaction where that is known, and by what the asset says of its authorization. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Authorization, Hex } from './authorization.ts';
import type { Evm, Transfer } from './evm.ts';

const FIRST_PAUSE_MS = 4;
const LONGEST_PAUSE_MS = 250;
/** A transaction that was replaced has another hash: now and then the transfer itself is looked for. */
const SEARCH_EVERY_MS = 1_000;

export interface Sent {
  readonly authorization: Authorization;
  /** Null where nobody said. */
  readonly transaction: Hex | null;
  /** Whether that is the only transaction there can be: when it moved nothing, nothing was moved. */
  readonly isOnly: boolean;
  /** The chain's head before it was sent. */
  readonly since: bigint;
}

/** What arrived, `failed` for a transaction that moved nothing, null for not knowing after `waitMs`. */
export async function arrivalOf(evm: Evm, sent: Sent, waitMs: number): Promise<Transfer | 'failed' | null> {
  const { authorization, isOnly, since } = sent;
  const startMs = performance.now();
  let searchedMs = startMs;
  let hint = sent.transaction;
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = longerMs(pauseMs)) {
    const nowMs = performance.now();
    // A node that does not answer now is asked again.
    const seen = hint === null ? null : await evm.transferIn(hint, authorization).catch(() => null);
    if (seen !== null && seen !== 'failed') return seen;
    if (seen === 'failed' || hint === null || nowMs - searchedMs > SEARCH_EVERY_MS) {
      const found = await evm.transferSince(since, authorization).catch(() => null);
      if (found !== null) return found;
      if (seen === 'failed' && isOnly) return 'failed';
      if (seen === 'failed') hint = null;
      searchedMs = nowMs;
    }
    if (nowMs - startMs > waitMs) return null;
    await sleep(pauseMs);
  }
}

/** The next pause of who looks again and again for what arrives: twice as long, up to a quarter of a second. */
export function longerMs(pauseMs: number): number {
  return pauseMs * 2 > LONGEST_PAUSE_MS ? LONGEST_PAUSE_MS : pauseMs * 2;
}
