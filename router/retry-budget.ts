/**
 * How many second attempts a pool may make: a share of its successes, and a few a second beside. When a whole pool is sick, retries would
 * multiply the load on what is left of it.
 */
const SHARE_OF_SUCCESSES = 0.1;
const PER_SECOND = 10;
/** Not used at once, as much is kept as ten quiet seconds give. */
const KEPT_MAX = 100;

export class RetryBudget {
  readonly #models = new Map<string, { left: number; atMs: number }>();

  /** Whether one more attempt may be made now (monotonic ms); counts it. */
  take(model: string, nowMs: number): boolean {
    const budget = this.#of(model, nowMs);
    budget.left = Math.min(KEPT_MAX, budget.left + ((nowMs - budget.atMs) / 1_000) * PER_SECOND);
    budget.atMs = nowMs;
    if (budget.left < 1) return false;
    budget.left -= 1;
    return true;
  }

  /** A worker has begun to answer. */
  earn(model: string): void {
    const budget = this.#models.get(model);
    if (budget !== undefined) budget.left = Math.min(KEPT_MAX, budget.left + SHARE_OF_SUCCESSES);
  }

  #of(model: string, nowMs: number) {
    let budget = this.#models.get(model);
    if (budget === undefined) {
      budget = { left: KEPT_MAX, atMs: nowMs };
      this.#models.set(model, budget);
    }
    return budget;
  }
}
