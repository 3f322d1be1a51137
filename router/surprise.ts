/** How far off the predictions of one worker's first content have been lately: always a little, or something is wrong with it. */

/** Of all, the share of predictions that the late ones are later than. */
const LATE_QUANTILE = 0.95;
const LATE_STEP = 0.1;
const FIRST_LATE = 2;
const LATE_MIN = 1.2;
const LATE_MAX = 10;
/** What one sight weighs in the mean. */
const WEIGHT = 0.05;
/** No sight counts as more. */
const EXCESS_MAX = 20;
const SIGHTS_TO_JUDGE = 20;

export class Surprise {
  #late = FIRST_LATE;
  #excess = 0;
  #sights = 0;

  /** Later than this many times the prediction is only one in twenty. */
  get late(): number {
    return this.#late;
  }

  /** By how much it is slower than predicted, on average, as a share of the prediction; null while too little was seen. */
  get excess(): number | null {
    return this.#sights < SIGHTS_TO_JUDGE ? null : this.#excess;
  }

  learn(actualMs: number, predictedMs: number): void {
    const times = actualMs / Math.max(1, predictedMs);
    const step = LATE_STEP * (times > this.#late ? LATE_QUANTILE : LATE_QUANTILE - 1);
    this.#late = Math.min(LATE_MAX, Math.max(LATE_MIN, this.#late * Math.exp(step)));
    this.#sights += 1;
    const weight = Math.max(WEIGHT, 1 / this.#sights);
    this.#excess += weight * (Math.min(EXCESS_MAX, Math.max(0, times - 1)) - this.#excess);
  }

  forget(): void {
    this.#excess = 0;
    this.#sights = 0;
  }
}
