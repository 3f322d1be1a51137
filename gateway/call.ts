/** One call's facts from arrival to receipt, and the one place that closes it. */
import type { Hold } from '../payments/holds.ts';
import type { Price } from '../payments/prices.ts';
import type { Closing, Outcome } from '../payments/record.ts';
import type { AttemptInfo, Dispatched, FailedAttempt } from '../router/dispatch.ts';
import type { EndControl } from '../router/ending.ts';
import { newCallId } from './call-id.ts';
import type { Limits } from './config.ts';
import type { ExpectedLength } from './expected-output.ts';
import type { Fare } from './paywall.ts';
import type { Gateway } from './platform.ts';
import { narrow, type Provider } from './provider.ts';
import type { InferenceRequest } from './request.ts';
import type { RequestKind } from './request-fields.ts';
import { Meter, type Metered } from './usage.ts';

/** A progress record is written after this much of a stream: what a crash can lose of a charge. */
const PROGRESS_TOKENS = 256;
const PROGRESS_MS = 1_000;
const NOTHING = {};

export class Call {
  readonly id = newCallId();
  readonly endpoint: RequestKind;
  readonly startedMs: number;
  readonly #gateway: Gateway;
  #admitted: {
    fare: Fare;
    request: InferenceRequest;
    price: Price;
    provider: Provider;
    meter: Meter;
    expectedLength: ExpectedLength;
    control: EndControl;
  } | null = null;
  #hold: Hold | null = null;
  #attempt: AttemptInfo | null = null;
  #earlier: readonly FailedAttempt[] = [];
  #operatorSharePpm = 0;
  #progress = { tokens: 0, atMs: 0 };
  #closing: Promise<void> | null = null;
  #totalMs: number | null = null;
  /** What the output was cut to; null: to what was asked. */
  clampedMaxTokens: number | null = null;
  /** Null before it is closed. */
  chargedNanousd: bigint | null = null;
  /** What its head says of its key's limits. */
  rateLines = '';

  constructor(gateway: Gateway, endpoint: RequestKind) {
    this.#gateway = gateway;
    this.endpoint = endpoint;
    this.startedMs = gateway.platform.now();
  }

  /** Monotonic milliseconds. */
  get now(): () => number {
    return this.#gateway.platform.now;
  }

  get limits(): Limits {
    return this.#gateway.platform.config.limits;
  }

  /** What the keys in the line and the call itself want of the worker. */
  get provider(): Provider {
    return this.#known.provider;
  }

  /** The host's limit, or the caller's own where that is shorter. */
  get longestMs(): number {
    return Math.min(this.limits.totalMs, this.provider.policy.deadlineMs ?? Number.POSITIVE_INFINITY);
  }

  /** Who pays for it, what was paid, and how to pay what is missing. */
  get fare(): Fare {
    return this.#known.fare;
  }

  /** What its head says of payments: into which account, and its key. */
  get payerFields(): Readonly<Record<string, string>> {
    return this.#admitted?.fare.headers ?? NOTHING;
  }

  get request(): InferenceRequest {
    return this.#known.request;
  }

  /** Names of the request's fields that nobody read. */
  get ignored(): readonly string[] {
    return this.#admitted?.request.ignored ?? [];
  }

  get price(): Price {
    return this.#known.price;
  }

  get meter(): Meter {
    return this.#known.meter;
  }

  /** Ends the call from outside: the caller left, its time is over, the gateway drains. */
  get control(): EndControl {
    return this.#known.control;
  }

  get attempt(): AttemptInfo | null {
    return this.#attempt;
  }

  get attempts(): number {
    return this.#earlier.length + (this.#attempt === null ? 0 : 1);
  }

  get isHeld(): boolean {
    return this.#hold !== null;
  }

  get heldNanousd(): bigint {
    return this.#hold?.amount ?? 0n;
  }

  /** Of one answer, as far as its like tell; at most so long. */
  expectedTokens(maxTokens: number): number {
    return this.#known.expectedLength.within(maxTokens);
  }

  /** Prompt and completion tokens so far. */
  get tokensUsed(): number {
    const { promptTokens, completionTokens } = this.meter.read();
    return this.#attempt === null ? 0 : promptTokens + completionTokens;
  }

  /** Until it was closed, or now. */
  get totalMs(): number {
    return this.#totalMs ?? Math.ceil(this.#gateway.platform.now() - this.startedMs);
  }

  /** Waited in the gateway before the attempt that delivered. */
  get queueMs(): number | null {
    return this.#attempt === null ? null : Math.max(0, Math.round(this.#attempt.times.dispatchedAt - this.startedMs));
  }

  get ttftMs(): number | null {
    const at = this.#attempt?.times.firstContentAt ?? null;
    return at === null ? null : Math.max(0, Math.round(at - this.startedMs));
  }

  /** From the dispatch of the attempt that delivered to the worker's last byte, begun milliseconds whole. */
  get billedMs(): number {
    if (this.#attempt === null) return 0;
    const { dispatchedAt, lastByteAt } = this.#attempt.times;
    return Math.max(0, Math.ceil((lastByteAt ?? this.#gateway.platform.now()) - dispatchedAt));
  }

  get #known() {
    if (this.#admitted === null) throw new Error('the call is not admitted yet');
    return this.#admitted;
  }

  begin(fare: Fare, request: InferenceRequest, price: Price, control: EndControl): void {
    const estimate = this.#gateway.promptRatios.estimate(price.model, request.promptBytes);
    const meter = new Meter(request.promptTokensMax, estimate);
    const provider = narrow(fare.principal.provider, request.provider);
    const expectedLength = this.#gateway.expectedOutput.of(fare.principal.ownerId, price.model);
    this.#admitted = { fare, request, price, provider, meter, expectedLength, control };
  }

  /** The money is held: before any worker hears of the call. */
  held(hold: Hold, maxTokens: number): void {
    const { request, price } = this.#known;
    this.#hold = hold;
    hold.open({ endpoint: this.endpoint, model: request.model, streamed: request.stream, price });
    this.meter.limit(maxTokens * this.request.sequences);
    if (this.request.maxTokens === null) this.clampedMaxTokens = maxTokens;
  }

  /** What the attempts came to: see `decidedBy`. */
  tried(answer: Dispatched): Promise<void> | null {
    if (answer.kind !== 'failed' && answer.kind !== 'aborted') return this.decidedBy(answer.attempt);
    this.#earlier = answer.attempts;
    return null;
  }

  /** The attempt that decides the call. To be waited for where the share of its worker's operator is not known yet. */
  decidedBy(attempt: AttemptInfo): Promise<void> | null {
    this.#attempt = attempt;
    this.#earlier = attempt.earlier;
    const sharePpm = this.#gateway.operatorShares.of(attempt.worker.operator);
    if (sharePpm instanceof Promise) {
      return sharePpm.then((ppm) => {
        this.#operatorSharePpm = ppm;
      });
    }
    this.#operatorSharePpm = sharePpm;
    return null;
  }

  /** Journals how far a stream has come, every 256 tokens or second. */
  noteProgress(nowMs: number): void {
    const { tokens, atMs } = this.#progress;
    if (atMs === 0) this.#progress.atMs = nowMs;
    if (this.meter.completionTokens - tokens < PROGRESS_TOKENS && (atMs === 0 || nowMs - atMs < PROGRESS_MS)) return;
    const metered = this.meter.read();
    this.#progress = { tokens: metered.completionTokens, atMs: nowMs };
    this.#hold?.progress(this.#closingRecord('aborted', metered));
  }

  /**
   * Charges what was delivered (nothing, unless `billable`) and resolves when the charge is as safe as the
   * acknowledgement level asks. A second close changes nothing.
   */
  close(outcome: Outcome, { billable }: { billable: boolean }): Promise<void> {
    this.#closing ??= this.#close(outcome, billable);
    return this.#closing;
  }

  #close(outcome: Outcome, billable: boolean): Promise<void> {
    const { request, price, fare } = this.#known;
    this.#totalMs = this.totalMs;
    const metered = billable ? this.meter.read() : { promptTokens: 0, cachedTokens: 0, completionTokens: 0 };
    const record = this.#closingRecord(outcome, metered);
    const hold = this.#hold;
    const safe = (billable ? hold?.capture(record) : hold?.void({ ...record, billedMs: 0 })) ?? Promise.resolve();
    const charged = hold?.charged ?? 0n;
    this.chargedNanousd = charged;
    if (this.meter.promptKnown) {
      this.#gateway.promptRatios.learn(price.model, request.promptBytes, this.meter.read().promptTokens);
    }
    if (outcome === 'complete') this.#learnFrom(metered);
    this.#report(record, charged);
    const { tab } = fare;
    // Before the caller can ask again: its next payment begins where this one ended.
    return tab === null ? safe : safe.then(() => tab.close(charged));
  }

  /** A complete answer teaches the router what to expect. */
  #learnFrom({ completionTokens }: Metered): void {
    const { request, expectedLength } = this.#known;
    if (request.kind === 'embedding') return;
    const tokens = completionTokens / request.sequences;
    expectedLength.learn(tokens);
    this.#attempt?.answered(tokens, this.meter.claimedCachedTokens);
  }

  #report(record: Closing, chargedNanousd: bigint): void {
    const { outcome, model, streamed, promptTokens, completionTokens, ttftMs, totalMs, workerId, attempts } = record;
    this.#gateway.metrics.callClosed({
      endpoint: this.endpoint,
      model,
      outcome,
      streamed,
      promptTokens,
      completionTokens,
      chargedNanousd,
      overheadMs: this.#earlier.length === 0 ? this.queueMs : null,
      ttftMs,
      totalMs,
      predictionError: this.#predictionError,
    });
    this.#gateway.platform.log.debug(
      { call: this.id, model, outcome, worker: workerId, attempts, promptTokens, completionTokens, ttftMs, totalMs },
      'call closed',
    );
  }

  /** How far off the prediction of the first content was, as a share of the prediction; null where no first content was seen. */
  get #predictionError(): number | null {
    if (this.#attempt === null || !this.request.stream) return null;
    const { predictedTtftMs, times } = this.#attempt;
    if (times.firstContentAt === null) return null;
    return Math.abs(times.firstContentAt - times.dispatchedAt - predictedTtftMs) / Math.max(1, predictedTtftMs);
  }

  #closingRecord(outcome: Outcome, metered: Metered): Closing {
    const worker = this.#attempt?.worker ?? null;
    return {
      outcome,
      endpoint: this.endpoint,
      model: this.request.model,
      streamed: this.request.stream,
      workerId: worker?.id ?? null,
      operatorId: worker?.operator ?? null,
      operatorSharePpm: this.#operatorSharePpm,
      region: worker?.region ?? null,
      attempts: this.attempts,
      ...metered,
      queueMs: this.queueMs,
      ttftMs: this.ttftMs,
      billedMs: this.billedMs,
      totalMs: this.totalMs,
      price: this.price,
    };
  }
}
