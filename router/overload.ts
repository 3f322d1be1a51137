/**
 * A burst may queue: it is over soon. A queue that stands makes every call late and serves none sooner, so that calls beyond it are
 * told at once that there is no room, and when to come back (CoDel's idea, with predicted waits).
 */
import type { Candidates } from './candidates.ts';
import type { Worker } from './worker.ts';

/** A wait for a slot that nobody minds. */
const TARGET_MS = 1_000;
/** So long calls may wait for slots one after the other before it is no burst; and so long without any wait ends it. */
const BURST_MS = 5_000;

export class Overload {
  /** By model: since when calls have had to wait for slots, and when one had to last. */
  readonly #queues = new Map<string, { sinceMs: number; lastMs: number }>();

  /** Of what was looked at, refuses those whose queue is long, where the queue of the pool stands. */
  shed(model: string, candidates: Candidates, nowMs: number): void {
    if (nowMs - this.#queueOf(model, waits(candidates), nowMs) < BURST_MS) return;
    for (const [at, worker] of candidates.workers.entries())
      if (candidates.serves(at) && tooLongByMs(worker, candidates.slotWaitMs(at), model) > 0)
        candidates.refuse(at, 'queue');
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
export function tooLongByMs({ times, record }: Worker, slotWaitMs: number, model: string): number {
  return slotWaitMs - Math.max(TARGET_MS, times.of(model).slotFreeMs(record.slots) ?? 0);
}

/** Whether the call would wait for a slot where it is served best. */
function waits(candidates: Candidates): boolean {
  let least = Number.POSITIVE_INFINITY;
  let slotWaitMs = 0;
  for (let at = 0; at < candidates.workers.length; at++) {
    if (!candidates.serves(at) || candidates.score(at) >= least) continue;
    least = candidates.score(at);
    slotWaitMs = candidates.slotWaitMs(at);
  }
  return slotWaitMs > 0;
}
