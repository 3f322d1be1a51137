/*
 * Requests and tokens per minute and open streams, per key, in the memory of one instance. The two rates are GCRA in its leaky-bucket form:
 * what was taken drains at the limit's pace, and a call is admitted if it still fits in one minute's worth. A quiet key may
 * therefore take its whole minute at once, and any span of t minutes sees at most (1 + t) limits.
 *
 * Tokens are taken at their worst case and the rest is given back at the end, when part of it may have drained already: giving
 * back that part too would let a key run twice as fast. So the bucket remembers what each open call took, in order. It drains from
 * the oldest, and a call gives back only from what is left of its own.
 */
import type { HeadFields } from './head-fields.ts';
import { fieldsOf } from './wire/fields.ts';

/** Ceilings of one key, each at least 1. */
export interface KeyLimits {
  readonly requestsPerMinute: number;
  readonly tokensPerMinute: number;
  readonly openStreams: number;
}

/** What one call takes: prompt bound plus every answer's cap, and whether it streams. */
export interface Demand {
  readonly tokens: number;
  readonly stream: boolean;
}

export interface Admitted {
  readonly ok: true;
  /** Of the answer's head: see `rateLines`. */
  readonly lines: string;
  /** Ends the call's stream and gives back what it did not use. Counts once, however often it is called. */
  release(actualTokens: number): void;
}

export interface Limited {
  readonly ok: false;
  readonly which: 'requests' | 'tokens' | 'streams';
  /** When to try again; null when the call alone is above the limit and no waiting helps. */
  readonly retryAfterMs: number | null;
  readonly headers: HeadFields;
}

const MINUTE_MS = 60_000;

/** Nobody knows when a stream ends; this is how often it is worth asking. */
const STREAM_RETRY_MS = 1_000;

/** Tokens that binary fractions may be off by; a call that waited as told must not wait again for them. */
const ROUNDING = 1e-6;

/** Keys looked at for every new one: more than one, so that idle ones leave faster than new ones come. */
const SWEEP_STEPS = 2;

/** One call's tokens in the bucket. */
interface Take {
  tokens: number;
  next: Take | null;
}

interface KeyState {
  requests: number;
  tokens: number;
  oldest: Take | null;
  newest: Take | null;
  streams: number;
  calls: number;
  drainedAtMs: number;
}

/** The limits of all keys that this instance serves. */
export class RateLimiter {
  readonly #keys = new Map<string, KeyState>();
  readonly #nowMs: () => number;
  #sweep: Iterator<[string, KeyState]> = this.#keys.entries();

  /** `nowMs` is monotonic. */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Keys in memory: those with a call open, or one in the last minute or so. */
  get size(): number {
    return this.#keys.size;
  }

  /** Takes what the call may need, all of it or nothing. */
  admit(keyId: string, limits: KeyLimits, demand: Demand): Admitted | Limited {
    const nowMs = this.#nowMs();
    const key = this.#keys.get(keyId) ?? this.#add(keyId, nowMs);
    drain(key, limits, nowMs);
    const refused = refusal(key, limits, demand);
    if (refused !== null) return { ok: false, ...refused, headers: fieldsOf(rateLines(key, limits)) };
    const take = takeFrom(key, demand);
    let released = false;
    return {
      ok: true,
      lines: rateLines(key, limits),
      release(actualTokens) {
        if (released) return;
        released = true;
        key.calls--;
        if (demand.stream) key.streams--;
        const back = Math.min(take.tokens, Math.max(0, demand.tokens - actualTokens));
        take.tokens -= back;
        key.tokens -= back;
      },
    };
  }

  #add(keyId: string, nowMs: number): KeyState {
    for (let step = 0; step < SWEEP_STEPS; step++) this.#dropIdle(nowMs);
    const key: KeyState = {
      requests: 0,
      tokens: 0,
      oldest: null,
      newest: null,
      streams: 0,
      calls: 0,
      drainedAtMs: nowMs,
    };
    this.#keys.set(keyId, key);
    return key;
  }

  /** Looks at one key, in turn, and forgets it if it has nothing left to remember. */
  #dropIdle(nowMs: number): void {
    const next = this.#sweep.next();
    if (next.done) {
      this.#sweep = this.#keys.entries();
      return;
    }
    const [keyId, key] = next.value;
    if (key.calls === 0 && nowMs - key.drainedAtMs >= MINUTE_MS) this.#keys.delete(keyId);
  }
}

/** Why the call must wait, or null. */
function refusal(key: KeyState, limits: KeyLimits, demand: Demand): Pick<Limited, 'which' | 'retryAfterMs'> | null {
  if (demand.stream && key.streams >= limits.openStreams) return { which: 'streams', retryAfterMs: STREAM_RETRY_MS };
  const requests = waitMs(key.requests, 1, limits.requestsPerMinute);
  if (requests !== 0) return { which: 'requests', retryAfterMs: requests };
  const tokens = waitMs(key.tokens, demand.tokens, limits.tokensPerMinute);
  if (tokens !== 0) return { which: 'tokens', retryAfterMs: tokens };
  return null;
}

/** Milliseconds until `more` fits on top of `level`: 0 now, null never. */
function waitMs(level: number, more: number, perMinute: number): number | null {
  if (more > perMinute) return null;
  const excess = level + more - perMinute;
  return excess <= ROUNDING ? 0 : Math.max(1, Math.ceil((excess / perMinute) * MINUTE_MS));
}

function takeFrom(key: KeyState, demand: Demand): Take {
  const take: Take = { tokens: demand.tokens, next: null };
  if (key.newest === null) key.oldest = take;
  else key.newest.next = take;
  key.newest = take;
  key.tokens += demand.tokens;
  key.requests += 1;
  key.calls += 1;
  if (demand.stream) key.streams += 1;
  return take;
}

/** Lets the time since the last call drain both buckets, the tokens from the oldest take on; every take is passed once. */
function drain(key: KeyState, limits: KeyLimits, nowMs: number): void {
  const minutes = (nowMs - key.drainedAtMs) / MINUTE_MS;
  key.drainedAtMs = nowMs;
  key.requests = Math.max(0, key.requests - minutes * limits.requestsPerMinute);
  let out = minutes * limits.tokensPerMinute;
  while (key.oldest !== null && key.oldest.tokens <= out) {
    out -= key.oldest.tokens;
    key.tokens -= key.oldest.tokens;
    key.oldest.tokens = 0;
    key.oldest = key.oldest.next;
  }
  if (key.oldest === null) {
    key.newest = null;
    key.tokens = 0;
  } else {
    key.oldest.tokens -= out;
    key.tokens -= out;
  }
}

/** OpenAI's six headers, after the call was taken or refused. `reset` is when the key has its whole minute again. */
function rateLines(key: KeyState, { requestsPerMinute, tokensPerMinute }: KeyLimits): string {
  const requests = remaining(key.requests, requestsPerMinute);
  const tokens = remaining(key.tokens, tokensPerMinute);
  const requestsReset = duration((key.requests / requestsPerMinute) * MINUTE_MS);
  const tokensReset = duration((key.tokens / tokensPerMinute) * MINUTE_MS);
  return (
    `x-ratelimit-limit-requests: ${requestsPerMinute}\r\nx-ratelimit-limit-tokens: ${tokensPerMinute}\r\n` +
    `x-ratelimit-remaining-requests: ${requests}\r\nx-ratelimit-remaining-tokens: ${tokens}\r\n` +
    `x-ratelimit-reset-requests: ${requestsReset}\r\nx-ratelimit-reset-tokens: ${tokensReset}\r\n`
  );
}

function remaining(level: number, perMinute: number): number {
  return Math.max(0, Math.floor(perMinute - level));
}

/** A time as OpenAI writes it: `12ms`, `1.5s`, `6m0s`; rounded up to whole milliseconds. */
function duration(ms: number): string {
  const whole = Math.ceil(ms);
  if (whole < 1_000) return `${whole}ms`;
  const minutes = Math.floor(whole / MINUTE_MS);
  const seconds = `${(whole % MINUTE_MS) / 1_000}s`;
  return minutes === 0 ? seconds : `${minutes}m${seconds}`;
}
