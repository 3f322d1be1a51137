/**
 * How long a worker will take to its first content, learned from the gateway's own clock alone. Nothing that a worker says
 * about its own speed enters. The simplest honest form: distance + usual time to first content x how full the worker is.
 */
const RTT_WEIGHT = 0.3;
const FIRST_CONTENT_WEIGHT = 0.2;
/** What was learned loses half its weight in this time: a worker that is shunned for its past is soon seen as it is now. */
const HALF_LIFE_MS = 20_000;
/** A failure counts as at least so many times what was predicted, or a worker that fails fast would look fast. */
const FAILURE_FACTOR = 3;
/** What an unknown worker among unknown workers is taken for. */
const NEUTRAL_MS = 200;

/** The learned times of one worker, in milliseconds. */
export class LearnedTimes {
  /** One round trip on an open connection; null before the first. */
  rttMs: number | null = null;
  /** From the worker's receipt of a call to first content, as if it were idle; null before the first. */
  firstContentMs: number | null = null;
  #learnedAtMs = 0;

  /** To first content. `load` is calls already there per slot; `neutralMs` stands in for a worker that was never seen. */
  predictMs(load: number, neutralMs: number): number {
    return (this.rttMs ?? 0) + (this.firstContentMs ?? neutralMs) * (1 + load);
  }

  learnRtt(elapsedMs: number): void {
    this.rttMs = average(this.rttMs, elapsedMs, RTT_WEIGHT);
  }

  /** `elapsedMs` from dispatch to the first content-bearing event; `load` as it was predicted with. */
  learnFirstContent(elapsedMs: number, load: number, nowMs: number): void {
    const atWorkerMs = Math.max(0, elapsedMs - (this.rttMs ?? 0));
    const oldWeight = (1 - FIRST_CONTENT_WEIGHT) * 0.5 ** ((nowMs - this.#learnedAtMs) / HALF_LIFE_MS);
    this.firstContentMs = average(this.firstContentMs, atWorkerMs / (1 + load), 1 - oldWeight);
    this.#learnedAtMs = nowMs;
  }

  /** The attempt failed `elapsedMs` after its dispatch, before any content. */
  learnFailure(elapsedMs: number, load: number, predictedMs: number, nowMs: number): void {
    this.learnFirstContent(Math.max(elapsedMs, FAILURE_FACTOR * predictedMs), load, nowMs);
  }
}

/** What a worker without history is taken for: the mean of those that have one. */
export function neutralFirstContentMs(pool: readonly { readonly times: LearnedTimes }[]): number {
  let sum = 0;
  let count = 0;
  for (const { times } of pool) {
    if (times.firstContentMs === null) continue;
    sum += times.firstContentMs;
    count += 1;
  }
  return count === 0 ? NEUTRAL_MS : sum / count;
}

function average(old: number | null, sample: number, weight: number): number {
  return old === null ? sample : old + weight * (sample - old);
}
