/**
 * A burst may queue: it is over soon. A queue that stands makes every call late and serves none sooner, so that calls beyond it are
 * told at once that there is no room, and when to come back (CoDel's idea, with predicted waits).
 */
import type { Candidate } from './refusal.ts';

/** A wait for a slot that nobody minds. */
const TARGET_MS = 1_000;
/** So long calls may wait for slots one after the other before it is no burst; and so long without any wait ends it. */
const BURST_MS = 5_000;

export class Overload {
  /** By model: since when calls have had to wait for slots, and when one had to last. */
  readonly #queues = new Map<string, { sinceMs: number; lastMs: number }>();

  /** What was looked at; where the queue of the pool stands, with those refused whose own is long. */
  shed(model: string, candidates: readonly Candidate[], nowMs: number): readonly Candidate[] {
    if (nowMs - this.#queueOf(model, waits(candidates), nowMs) < BURST_MS) return candidates;
    return candidates.map((one) =>
      one.refused === null && tooLongByMs(one, model) > 0 ? { ...one, refused: 'queue' } : one,
    );
  }

  /** Since when there has been a queue: now, where there is none. */
  #queueOf(model: string, waits: boolean, nowMs: number): number {
    let queue = this.#queues.get(model);
    if (queue !== undefined && nowMs - queue.lastMs >= BURST_MS) {
      this.#queues.delete(model);
      queue = undefined;
    }
    if (!waits) return queue?.sinceMs ?? nowMs;
    queue ??= { sinceMs: nowMs, lastMs: nowMs };
    queue.lastMs = nowMs;
    this.#queues.set(model, queue);
    return queue.sinceMs;
  }
}

/** How much longer the queue there is than nobody minds; one call may always wait for the next slot. */
export function tooLongByMs({ worker, prediction }: Candidate, model: string): number {
  const slotMs = worker.times.of(model).slotFreeMs(worker.record.slots) ?? 0;
  return (prediction?.slotWaitMs ?? 0) - Math.max(TARGET_MS, slotMs);
}

/** Whether the call would wait for a slot where it is served best. */
function waits(candidates: readonly Candidate[]): boolean {
  let best: Candidate | null = null;
  for (const one of candidates) if (one.refused === null && (best === null || one.score < best.score)) best = one;
  return (best?.prediction?.slotWaitMs ?? 0) > 0;
}
