/**
 * How long a worker will take to its first content, learned from the gateway's own clock alone. Nothing that a worker says
 * about its own speed enters. The simplest honest form: distance + usual time to first content x how full the worker is.
 */
const RTT_WEIGHT = 0.3;
const FIRST_CONTENT_WEIGHT = 0.2;
/** A failure counts as at least so many times what was predicted, or a worker that fails fast would look fast. */
const FAILURE_FACTOR = 3;
/** What an unknown worker among unknown workers is taken for. */
const NEUTRAL_MS = 200;

/** What is remembered at dispatch, so that learning uses the same load as the prediction did. */
export interface Prediction {
  readonly ttftMs: number;
  readonly load: number;
}

/** The learned times of one worker, in milliseconds. */
export class LearnedTimes {
  /** One round trip on an open connection; null before the first. */
  rttMs: number | null = null;
  /** From the worker's receipt of a call to first content, as if it were idle; null before the first. */
  firstContentMs: number | null = null;

  /** `load` is calls already there per slot; `neutralMs` stands in for a worker that was never seen. */
  predict(load: number, neutralMs: number): Prediction {
    const firstContentMs = this.firstContentMs ?? neutralMs;
    return { ttftMs: (this.rttMs ?? 0) + firstContentMs * (1 + load), load };
  }

  learnRtt(elapsedMs: number): void {
    this.rttMs = average(this.rttMs, elapsedMs, RTT_WEIGHT);
  }

  /** `elapsedMs` from dispatch to the first content-bearing event. */
  learnFirstContent(elapsedMs: number, predicted: Prediction): void {
    const atWorkerMs = Math.max(0, elapsedMs - (this.rttMs ?? 0));
    this.firstContentMs = average(this.firstContentMs, atWorkerMs / (1 + predicted.load), FIRST_CONTENT_WEIGHT);
  }

  /** The attempt failed `elapsedMs` after its dispatch, before any content. */
  learnFailure(elapsedMs: number, predicted: Prediction): void {
    this.learnFirstContent(Math.max(elapsedMs, FAILURE_FACTOR * predicted.ttftMs), predicted);
  }
}

/** What a worker without history is taken for: the mean of those that have one. */
export function neutralFirstContentMs(times: Iterable<LearnedTimes>): number {
  let sum = 0;
  let count = 0;
  for (const { firstContentMs } of times) {
    if (firstContentMs === null) continue;
    sum += firstContentMs;
    count += 1;
  }
  return count === 0 ? NEUTRAL_MS : sum / count;
}

function average(old: number | null, sample: number, weight: number): number {
  return old === null ? sample : old + weight * (sample - old);
}
