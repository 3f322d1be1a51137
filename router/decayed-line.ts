/**
 * A straight line `y = a + s·x` learned from what is seen, old sights fading: least squares over exponentially decayed sums, every sight
 * weighed by its relative error. Sums cannot wind up as a recursive filter with forgetting does when x stops varying (research on routing,
 * §2.2).
 */
export interface LineOptions {
  /** What a machine of the usual class would show: the shape of the line before there is anything to fit. */
  readonly usual: { readonly a: number; readonly s: number };
  /** Where the usual line is held on to, with the weight of so many sights each; apart enough to fix both numbers. */
  readonly anchors: readonly [number, number];
  readonly slope: { readonly min: number; readonly max: number };
}

const ANCHOR_WEIGHT = 2;
/** What one sight more leaves of those before it: a memory of about two hundred. */
const KEPT_PER_SIGHT = 0.995;
/** And what time leaves: whoever is asked seldom is judged by the present too. */
const HALF_LIFE_MS = 120_000;
/** What was seen within so long is not doubted. */
const FRESH_MS = 10_000;
/** No sight counts as more than so many times what was expected, once there is something to expect. */
const SURPRISE_MAX = 4;
const SIGHTS_TO_EXPECT = 8;
/** So many sights in a row, each so many times what was expected, are no accident: the machine has changed, and each halves the past. */
const CHANGED_SIGHTS = 3;
const CHANGED_TIMES = 3;
const KEPT_WHEN_CHANGED = 0.5;
/** No machine is more than so many times faster than usual: what seems so is the clock's grain, or the way there taken for too long. */
const RATIO_MIN = 0.01;

export class DecayedLine {
  readonly #options: LineOptions;
  #a: number;
  #s: number;
  /** How many sights are remembered, faded ones as fractions. */
  #sights = 0;
  #ratios = 0;
  #sums = { w: 0, x: 0, y: 0, xx: 0, xy: 0 };
  #learnedAtMs = 0;
  /** Sights in a row that were far above the line. */
  #slow = 0;

  constructor(options: LineOptions) {
    this.#options = options;
    this.#a = options.usual.a;
    this.#s = options.usual.s;
  }

  get a(): number {
    return this.#a;
  }

  get s(): number {
    return this.#s;
  }

  get known(): boolean {
    return this.#sights > 0;
  }

  /** How many times slower than usual; 1 before the first sight. */
  get ratio(): number {
    return this.#sights === 0 ? 1 : Math.max(RATIO_MIN, this.#ratios / this.#sights);
  }

  /**
   * What the line is to be multiplied with, where `others` are so many times slower than usual: before the first sight it is one of them,
   * and unseen for long it becomes one again, so that nobody is passed over for ever for a bad moment.
   */
  stretch(others: number, nowMs: number): number {
    if (this.#sights === 0) return others;
    const agoMs = nowMs - this.#learnedAtMs;
    if (agoMs < FRESH_MS) return 1;
    const kept = 0.5 ** (agoMs / HALF_LIFE_MS);
    return kept + ((1 - kept) * others) / this.ratio;
  }

  at(x: number): number {
    return this.#a + this.#s * x;
  }

  /** `isSole`: nothing that is unknown here can have been in the way, so that what took far too long tells of the machine itself. */
  learn(x: number, y: number, nowMs: number, isSole = false): void {
    const isSure = this.#sights >= SIGHTS_TO_EXPECT;
    const seen = isSure ? Math.min(y, SURPRISE_MAX * this.at(x)) : y;
    this.#slow = isSole && isSure && y > CHANGED_TIMES * Math.max(1, this.at(x)) ? this.#slow + 1 : 0;
    const kept = this.#slow < CHANGED_SIGHTS ? KEPT_PER_SIGHT : KEPT_WHEN_CHANGED;
    this.#fade(kept * 0.5 ** (Math.max(0, nowMs - this.#learnedAtMs) / HALF_LIFE_MS));
    this.#learnedAtMs = nowMs;
    const usual = this.#usualAt(x);
    const w = 1 / usual ** 2;
    const sums = this.#sums;
    sums.w += w;
    sums.x += w * x;
    sums.y += w * seen;
    sums.xx += w * x * x;
    sums.xy += w * x * seen;
    this.#sights += 1;
    this.#ratios += seen / usual;
    this.#fit();
  }

  #fade(kept: number): void {
    this.#sights *= kept;
    this.#ratios *= kept;
    for (const name of ['w', 'x', 'y', 'xx', 'xy'] as const) this.#sums[name] *= kept;
  }

  /** Least squares of the sights and of two points of the usual line, moved to the speed of this machine. */
  #fit(): void {
    const { anchors, slope } = this.#options;
    let { w, x, y, xx, xy } = this.#sums;
    for (const at of anchors) {
      const usual = this.#usualAt(at);
      const weight = ANCHOR_WEIGHT / usual ** 2;
      const seen = this.ratio * usual;
      w += weight;
      x += weight * at;
      y += weight * seen;
      xx += weight * at * at;
      xy += weight * at * seen;
    }
    const fitted = (w * xy - x * y) / (w * xx - x * x);
    this.#s = Math.min(slope.max, Math.max(slope.min, fitted));
    this.#a = (y - this.#s * x) / w;
    if (this.#a >= 0) return;
    this.#a = 0;
    this.#s = Math.min(slope.max, Math.max(slope.min, xy / xx));
  }

  #usualAt(x: number): number {
    return this.#options.usual.a + this.#options.usual.s * x;
  }
}
