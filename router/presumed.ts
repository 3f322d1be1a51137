/**
 * What other gateways have lately sent to a worker and not told yet. They see what this one sees and choose as it does, so that they
 * presumably send where it sends; gateways that each count only themselves would all take the worker that looks best, until they hear.
 */

/** So long what was sent here tells what is being sent there: twice as long as news take, so that one long prompt is not a flood. */
const PRESUMED_MS = 400;
const PRESUMED_SHARE = 0.7;
/** What is sent within so long is forgotten together: a busy gateway sends thousands of calls in that time. */
const MOMENT_MS = 5;

interface Moment {
  readonly atMs: number;
  sequences: number;
  tokens: number;
}

export class Presumed {
  readonly #sent: Moment[] = [];
  #sequences = 0;
  #tokens = 0;

  /** This gateway sent so much. */
  sent(sequences: number, tokens: number, nowMs: number): void {
    this.#forget(nowMs);
    const last = this.#sent.at(-1);
    if (last === undefined || nowMs - last.atMs > MOMENT_MS) this.#sent.push({ atMs: nowMs, sequences, tokens });
    else {
      last.sequences += sequences;
      last.tokens += tokens;
    }
    this.#sequences += sequences;
    this.#tokens += tokens;
  }

  /** What gateways have sent that together run `times` as much as this one. */
  at(times: number, nowMs: number): { readonly sequences: number; readonly tokens: number } {
    this.#forget(nowMs);
    const share = PRESUMED_SHARE * times;
    return { sequences: share * this.#sequences, tokens: share * this.#tokens };
  }

  #forget(nowMs: number): void {
    for (let [one] = this.#sent; one !== undefined && one.atMs <= nowMs - PRESUMED_MS; [one] = this.#sent) {
      this.#sent.shift();
      this.#sequences -= one.sequences;
      this.#tokens -= one.tokens;
    }
  }
}
