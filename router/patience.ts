/** How long an attempt is waited for: by what was predicted of it, within the limits of the gateway. */
import type { AttemptLimits } from './attempt-request.ts';
import type { Choice } from './pick.ts';

/** A first content is waited for so many times as long as predicted, and at least so long, while somebody else could be asked. */
const FIRST_FACTOR = 3;
const FIRST_MIN_MS = 2_000;
/** The next event of a stream comes within so many times as long as its tokens usually take, or within so long, or never. */
const IDLE_FACTOR = 20;
const IDLE_MIN_MS = 10_000;

export interface Asked {
  readonly model: string;
  /** Nobody else will be asked after this attempt. */
  readonly isLast: boolean;
}

/** Never more than `most`; a worker that has shown nothing yet, and the last that can be asked, have all of it. */
export function patience(choice: Choice, asked: Asked, most: AttemptLimits): AttemptLimits {
  const { reservation, candidates } = choice;
  const { worker, prediction } = reservation;
  const { prefill, decode } = worker.times.of(asked.model);
  const others = candidates.workers.some((one, at) => one !== worker && candidates.serves(at));
  const firstMs = Math.max(FIRST_MIN_MS, FIRST_FACTOR * prediction.ttftMs);
  const idleMs = Math.max(IDLE_MIN_MS, IDLE_FACTOR * prediction.perTokenMs);
  return {
    connectMs: most.connectMs,
    firstContentMs:
      asked.isLast || !others || !prefill.known ? most.firstContentMs : Math.min(most.firstContentMs, firstMs),
    idleMs: decode.known ? Math.min(most.idleMs, idleMs) : most.idleMs,
  };
}
