import type { BlockPool } from './blocks.ts';
import type { Clock } from './clock.ts';
import { type Job, Sequence } from './sequence.ts';

/** How fast the engine is. All four figures come from `SimulatorOptions`. */
export interface Speed {
  readonly prefillTokensPerSecond: number;
  readonly chunkTokens: number;
  readonly decodeBaseMs: number;
  readonly decodePerRequestMs: number;
}

/** What the engine has done since it started. */
export interface Totals {
  promptTokens: number;
  cachedTokens: number;
  generatedTokens: number;
  preemptions: number;
  steps: number;
}

/** A step that falls behind the clock is made up for, but no more than this long: a sleeping machine is not a busy one. */
const CATCH_UP_MS = 50;

/**
 * vLLM's scheduler over simulated time. Each step shares a budget of tokens: running sequences first (one token each, or
 * the next chunk of their prompt), then waiting ones while slots, blocks and budget last. The step takes the time of its
 * prompt tokens plus the time of decoding; at its end every sequence that is fully computed yields one token.
 */
export class Engine {
  readonly totals: Totals = { promptTokens: 0, cachedTokens: 0, generatedTokens: 0, preemptions: 0, steps: 0 };
  private readonly speed: Speed;
  private readonly slots: number;
  private readonly pool: BlockPool;
  private readonly clock: Clock;
  private readonly byPriority: boolean;
  private readonly onStep: (tokens: number) => void;
  private readonly running = new Set<Sequence>();
  private waiting: Sequence[] = [];
  private cancelStep: (() => void) | null = null;
  private stepEndsMs = 0;
  private frozen = false;

  /** `onStep` is told how many tokens each step computed. */
  constructor(
    speed: Speed,
    slots: number,
    pool: BlockPool,
    clock: Clock,
    { byPriority = false, onStep = () => {} }: { byPriority?: boolean; onStep?: (tokens: number) => void } = {},
  ) {
    this.speed = speed;
    this.slots = slots;
    this.pool = pool;
    this.clock = clock;
    this.byPriority = byPriority;
    this.onStep = onStep;
  }

  get runningCount(): number {
    return this.running.size;
  }

  get waitingCount(): number {
    return this.waiting.length;
  }

  /** Prompt tokens of calls here that are not computed yet. */
  get backlogTokens(): number {
    return [...this.running, ...this.waiting].reduce(
      (sum, { job, computed }) => sum + Math.max(job.promptIds.length - computed, 0),
      0,
    );
  }

  /** Queues a job; it runs as soon as there is a slot. */
  add(job: Job): void {
    this.enqueue(new Sequence(job, this.pool));
    if (this.cancelStep === null && !this.frozen) {
      this.stepEndsMs = this.clock.nowMs();
      this.cancelStep = this.clock.at(this.stepEndsMs, () => this.beginStep());
    }
  }

  /** Takes a job out, waiting or running; its slot and blocks are free at once. */
  remove(job: Job): void {
    this.waiting = this.waiting.filter((sequence) => sequence.job !== job);
    for (const sequence of this.running) {
      if (sequence.job === job) {
        this.leave(sequence);
      }
    }
  }

  /** Stops all work without telling anyone, as a frozen process does. */
  freeze(): void {
    this.frozen = true;
    this.cancelStep?.();
    this.cancelStep = null;
  }

  /** Goes on after `freeze`. */
  thaw(): void {
    if (this.frozen) {
      this.frozen = false;
      this.stepEndsMs = this.clock.nowMs();
      this.beginStep();
    }
  }

  private enqueue(sequence: Sequence): void {
    const after = this.byPriority ? this.waiting.findIndex((other) => other.job.priority > sequence.job.priority) : -1;
    this.waiting.splice(after < 0 ? this.waiting.length : after, 0, sequence);
  }

  private beginStep(): void {
    if (this.frozen) {
      return;
    }
    const scheduled = this.schedule();
    if (scheduled.size === 0) {
      this.cancelStep = null;
      return;
    }
    const nowMs = this.clock.nowMs();
    this.stepEndsMs = Math.max(this.stepEndsMs, nowMs - CATCH_UP_MS) + this.stepMs(scheduled);
    this.cancelStep = this.clock.at(this.stepEndsMs, () => this.endStep(scheduled));
  }

  private endStep(scheduled: Map<Sequence, number>): void {
    this.totals.steps += 1;
    this.onStep([...scheduled.values()].reduce((sum, tokens) => sum + tokens, 0));
    for (const [sequence, tokens] of scheduled) {
      if (this.running.has(sequence)) {
        this.compute(sequence, tokens);
      }
    }
    this.beginStep();
  }

  private compute(sequence: Sequence, tokens: number): void {
    const promptLeft = Math.max(sequence.job.promptIds.length - sequence.computed, 0);
    this.totals.promptTokens += Math.min(promptLeft, tokens);
    sequence.compute(tokens);
    if (sequence.due > 0) {
      return;
    }
    const { id, finished } = sequence.job.sample();
    if (id !== null) {
      this.totals.generatedTokens += 1;
      sequence.ids.push(id);
    }
    if (finished) {
      this.leave(sequence);
    }
  }

  /** Which sequences compute how many tokens in the next step. */
  private schedule(): Map<Sequence, number> {
    const scheduled = new Map<Sequence, number>();
    const preemptionsBefore = this.totals.preemptions;
    const budget = this.scheduleRunning(scheduled, this.speed.chunkTokens);
    if (this.totals.preemptions === preemptionsBefore) {
      this.scheduleWaiting(scheduled, budget);
    }
    return scheduled;
  }

  /** Those that have slots go first; for want of blocks the newest of them goes back to the queue. */
  private scheduleRunning(scheduled: Map<Sequence, number>, tokensLeft: number): number {
    let budget = tokensLeft;
    for (const sequence of [...this.running]) {
      const tokens = Math.min(sequence.due, budget);
      if (tokens === 0) {
        continue;
      }
      while (this.running.has(sequence) && !sequence.reserve(tokens)) {
        this.preemptLast(scheduled);
      }
      if (this.running.has(sequence)) {
        scheduled.set(sequence, tokens);
        budget -= tokens;
      }
    }
    return budget;
  }

  private scheduleWaiting(scheduled: Map<Sequence, number>, tokensLeft: number): void {
    let budget = tokensLeft;
    while (budget > 0 && this.running.size < this.slots) {
      const [sequence] = this.waiting;
      if (sequence === undefined) {
        return;
      }
      sequence.matchPrefix();
      const tokens = Math.min(sequence.due, budget);
      if (!sequence.reserve(tokens)) {
        sequence.forget();
        return;
      }
      this.waiting.shift();
      this.running.add(sequence);
      this.welcome(sequence);
      scheduled.set(sequence, tokens);
      budget -= tokens;
    }
  }

  private welcome(sequence: Sequence): void {
    if (!sequence.met) {
      sequence.met = true;
      this.totals.cachedTokens += sequence.computed;
      sequence.job.onScheduled(sequence.computed);
    }
  }

  /** The newest sequence gives up its blocks and starts again from the head of the queue. */
  private preemptLast(scheduled: Map<Sequence, number>): void {
    const victim = [...this.running].at(-1);
    if (victim === undefined) {
      return;
    }
    this.running.delete(victim);
    this.totals.preemptions += 1;
    victim.job.onPreempted();
    scheduled.delete(victim);
    victim.forget();
    this.waiting.unshift(victim);
  }

  private leave(sequence: Sequence): void {
    this.running.delete(sequence);
    sequence.forget();
  }

  private stepMs(scheduled: Map<Sequence, number>): number {
    let promptTokens = 0;
    let decoding = 0;
    for (const [sequence, tokens] of scheduled) {
      if (sequence.computed + tokens > sequence.job.promptIds.length) {
        decoding += 1;
      } else {
        promptTokens += tokens;
      }
    }
    const { prefillTokensPerSecond, decodeBaseMs, decodePerRequestMs } = this.speed;
    const decodeMs = decoding > 0 ? decodeBaseMs + decoding * decodePerRequestMs : 0;
    return (promptTokens / prefillTokensPerSecond) * 1000 + decodeMs;
  }
}
