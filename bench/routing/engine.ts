/**
 * A vLLM engine in simulated time: slots, a queue, chunked prefill that shares its steps with decoding, steps that take longer the more
 * they carry, and a prefix cache. Not modelled: preemption, speculative decoding.
 */
import { BLOCK_TOKENS } from './trace.ts';

/** A class of machine. */
export interface Machine {
  readonly prefillPerSecond: number;
  /** One step without prefill: `stepMs + perRunningMs × answers`. */
  readonly stepMs: number;
  readonly perRunningMs: number;
  readonly slots: number;
  readonly cacheTokens: number;
}

/** One call inside an engine. */
export interface Job {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly keys: Int32Array;
  onFirst(nowMs: number, cachedTokens: number): void;
  onEnd(nowMs: number): void;
}

interface Running {
  readonly job: Job;
  cachedTokens: number;
  prefillLeft: number;
  tokensLeft: number;
}

/** Steps under way, alike, of `ms` each from `fromMs`; `id` tells an outdated end from the real one. */
interface Steps {
  readonly fromMs: number;
  readonly ms: number;
  readonly count: number;
  readonly chunk: number;
  readonly id: number;
}

/** Tokens that one step can carry. */
const CHUNK_TOKENS = 8_192;

export class Engine {
  readonly machine: Machine;
  /** Times slower than the machine is; a fault of the simulation's own. */
  slowness = 1;
  readonly #at: (ms: number, act: () => void) => void;
  readonly #queue: Job[] = [];
  readonly #prefilling: Running[] = [];
  #decoding: Running[] = [];
  readonly #cache = new Set<number>();
  #heldTokens = 0;
  #steps: Steps | null = null;
  #ids = 0;

  constructor(machine: Machine, at: (ms: number, act: () => void) => void) {
    this.machine = machine;
    this.#at = at;
  }

  get running(): number {
    return this.#decoding.length + this.#prefilling.length;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  /** Uncached tokens that stand before a new prompt. */
  get prefillTokens(): number {
    let tokens = 0;
    for (const { prefillLeft } of this.#prefilling) tokens += prefillLeft;
    for (const { inputTokens } of this.#queue) tokens += inputTokens;
    return tokens;
  }

  cachedTokens(keys: Int32Array): number {
    let known = 0;
    while (known < keys.length && this.#cache.has(keys[known] ?? 0)) known++;
    return known * BLOCK_TOKENS;
  }

  submit(job: Job, nowMs: number): void {
    this.#queue.push(job);
    const steps = this.#steps;
    if (steps === null) this.#begin(nowMs);
    // Many steps of pure decoding were taken at once: after the present one the new call may join.
    else if (steps.count > 1) this.#stopAfterThisStep(steps, nowMs);
  }

  #stopAfterThisStep(steps: Steps, nowMs: number): void {
    const count = Math.min(steps.count, Math.floor((nowMs - steps.fromMs) / steps.ms) + 1);
    this.#run({ ...steps, count });
  }

  #begin(nowMs: number): void {
    this.#admit();
    let chunk = 0;
    for (const { prefillLeft } of this.#prefilling) chunk += prefillLeft;
    chunk = Math.min(chunk, Math.max(0, CHUNK_TOKENS - this.#decoding.length));
    if (chunk === 0 && this.#decoding.length === 0) {
      this.#steps = null;
      return;
    }
    const { stepMs, perRunningMs, prefillPerSecond } = this.machine;
    const ms = this.slowness * (stepMs + perRunningMs * this.#decoding.length + (1_000 * chunk) / prefillPerSecond);
    let count = 1;
    if (this.#prefilling.length === 0) {
      count = Number.POSITIVE_INFINITY;
      for (const { tokensLeft } of this.#decoding) count = Math.min(count, tokensLeft);
    }
    this.#run({ fromMs: nowMs, ms, count, chunk, id: 0 });
  }

  #run(steps: Steps): void {
    const id = ++this.#ids;
    this.#steps = { ...steps, id };
    const endMs = steps.fromMs + steps.ms * steps.count;
    this.#at(endMs, () => {
      if (this.#steps?.id === id) this.#end(this.#steps, endMs);
    });
  }

  #end({ count, chunk }: Steps, nowMs: number): void {
    for (const one of this.#decoding) one.tokensLeft -= count;
    this.#prefill(chunk, nowMs);
    const ended = this.#decoding.filter(({ tokensLeft }) => tokensLeft <= 0);
    if (ended.length > 0) this.#decoding = this.#decoding.filter(({ tokensLeft }) => tokensLeft > 0);
    for (const { job } of ended) {
      this.#heldTokens -= job.inputTokens + job.outputTokens;
      job.onEnd(nowMs);
    }
    this.#begin(nowMs);
  }

  #prefill(chunk: number, nowMs: number): void {
    let left = chunk;
    while (this.#prefilling[0] !== undefined) {
      const [first] = this.#prefilling;
      const taken = Math.min(left, first.prefillLeft);
      first.prefillLeft -= taken;
      left -= taken;
      if (first.prefillLeft > 0) return;
      this.#prefilling.shift();
      first.tokensLeft -= 1;
      this.#remember(first.job.keys);
      this.#decoding.push(first);
      first.job.onFirst(nowMs, first.cachedTokens);
    }
  }

  #admit(): void {
    for (let job = this.#queue[0]; job !== undefined; job = this.#queue[0]) {
      const { slots, cacheTokens } = this.machine;
      const tokens = job.inputTokens + job.outputTokens;
      const isFull = this.running >= slots || (this.running > 0 && this.#heldTokens + tokens > cacheTokens);
      if (isFull) return;
      this.#queue.shift();
      this.#heldTokens += tokens;
      // The last token is always computed anew.
      const cachedTokens = Math.min(this.cachedTokens(job.keys), job.inputTokens - 1);
      this.#prefilling.push({
        job,
        cachedTokens,
        prefillLeft: job.inputTokens - cachedTokens,
        tokensLeft: job.outputTokens,
      });
    }
  }

  #remember(keys: Int32Array): void {
    for (let index = keys.length - 1; index >= 0; index--) {
      const key = keys[index] ?? 0;
      this.#cache.delete(key);
      this.#cache.add(key);
    }
    const most = this.machine.cacheTokens / BLOCK_TOKENS;
    for (const key of this.#cache) {
      if (this.#cache.size <= most) return;
      this.#cache.delete(key);
    }
  }
}
