/**
 * Whether a worker's refusals are looked into. A request that a worker calls wrong goes back to its caller and blames nobody, so a worker
 * could keep its place in the fleet by refusing. Of its refusals a small share is therefore asked of another worker as well; once one of
 * them was served there, all are, until one is confirmed (research on routing, §2.6).
 */
const AUDITED_SHARE = 0.01;

export class RefusalAudit {
  #doubted = false;

  /** Whether another worker is to be asked; `random` is uniform in [0, 1). */
  isDue(random: number): boolean {
    return this.#doubted || random < AUDITED_SHARE;
  }

  /** What the other worker said: the same, or it served the request. */
  learn(confirmed: boolean): void {
    this.#doubted = !confirmed;
  }
}
