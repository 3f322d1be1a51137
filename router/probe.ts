/**
 * Finds out what live traffic does not tell: whether a new worker really answers, whether an ejected one does again, how far
 * away each is. `/health` says nothing (a frozen engine is healthy by it), so a check is a real answer of one token.
 */
import { Attempt, type AttemptEnd } from './attempt.ts';
import { readCacheTokens } from './cache-size.ts';
import type { Fleet } from './fleet.ts';
import type { Outbound } from './outbound.ts';
import { USUAL_SPEED } from './predict.ts';
import type { Reservation } from './reservation.ts';
import { measureRtt } from './rtt.ts';
import type { Worker } from './worker.ts';

export interface ProberOptions {
  readonly fleet: Fleet;
  readonly outbound: Outbound;
  readonly log: { info(fields: object, message: string): void };
}

/** How often the fleet is looked through for what is due. */
const TICK_MS = 250;
const RTT_EVERY_MS = 5000;
/** A serving worker is checked when nothing good was heard of it for so long. */
const QUIET_MS = 30_000;
/** Failed checks of workers that do not serve are repeated after 1 s, 2 s, 4 s, … up to a minute. */
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 60_000;
const CONNECT_MS = 5000;
/** A first answer may have to wait for compilation; a serving worker may be busy, and slow is not dead. */
const CHECK_LIMITS = { connectMs: CONNECT_MS, firstContentMs: 60_000, idleMs: 30_000 };

/** Ways to ask a model for its smallest answer, the likeliest first. */
const QUESTIONS = [
  {
    path: '/v1/chat/completions',
    stream: true,
    ask: { messages: [{ role: 'user', content: 'Hello' }], max_tokens: 1 },
  },
  { path: '/v1/completions', stream: true, ask: { prompt: 'Hello', max_tokens: 1 } },
  { path: '/v1/embeddings', stream: false, ask: { input: 'Hello' } },
] as const;

const QUESTION_WORK = { uncachedTokens: 10, outputTokens: 1, sequences: 1 };

type Question = (typeof QUESTIONS)[number];

/** What is known about probing one worker. */
interface Watch {
  busy: boolean;
  checkAtMs: number;
  failures: number;
  rttAtMs: number;
  /** The way that worked, per model. */
  readonly questions: Map<string, Question>;
}

/** Watches the fleet until the returned function is called. */
export function startProber(options: ProberOptions): () => void {
  const prober = new Prober(options);
  const timer = setInterval(() => prober.tick(), TICK_MS);
  prober.tick();
  return () => {
    clearInterval(timer);
    prober.stop();
  };
}

class Prober {
  readonly #fleet: Fleet;
  readonly #outbound: Outbound;
  readonly #log: ProberOptions['log'];
  readonly #watches = new WeakMap<Worker, Watch>();
  readonly #control = new AbortController();
  #checks = 0;

  constructor({ fleet, outbound, log }: ProberOptions) {
    this.#fleet = fleet;
    this.#outbound = outbound;
    this.#log = log;
  }

  stop(): void {
    this.#control.abort(new Error('the prober stops'));
  }

  tick(): void {
    const nowMs = this.#fleet.now();
    for (const worker of this.#fleet.all()) {
      const watch = this.#watch(worker);
      if (watch.busy || worker.lifecycle === 'draining') continue;
      if (this.#checkIsDue(worker, watch, nowMs)) void this.#whileBusy(watch, () => this.#check(worker, watch));
      else if (worker.serves && nowMs >= watch.rttAtMs) void this.#whileBusy(watch, () => this.#measure(worker, watch));
    }
  }

  #watch(worker: Worker): Watch {
    let watch = this.#watches.get(worker);
    if (watch === undefined) {
      watch = { busy: false, checkAtMs: 0, failures: 0, rttAtMs: 0, questions: new Map() };
      this.#watches.set(worker, watch);
    }
    return watch;
  }

  async #whileBusy(watch: Watch, work: () => Promise<void>): Promise<void> {
    watch.busy = true;
    try {
      await work();
    } finally {
      watch.busy = false;
    }
  }

  #checkIsDue(worker: Worker, watch: Watch, nowMs: number): boolean {
    // One that another gateway, or an earlier life, has checked already serves; what its models do is not stored.
    const known = worker.record.models.every(({ id }) => worker.kinds.has(id));
    if (!worker.serves || !known) return nowMs >= watch.checkAtMs;
    const breaker = worker.breaker.state(nowMs);
    if (breaker !== 'closed') return breaker === 'half_open' && worker.breaker.admits(nowMs);
    return nowMs - Math.max(worker.lastGoodAtMs ?? Number.NEGATIVE_INFINITY, watch.checkAtMs) >= QUIET_MS;
  }

  /** Asks every model of the worker. A worker that did not serve begins to when all answer well. */
  async #check(worker: Worker, watch: Watch): Promise<void> {
    // First the way there: else it would be taken for time of the engine, and a worker that is far away for a near one.
    if (worker.times.rttMs === null) await this.#measure(worker, watch);
    let good = true;
    for (const { id } of worker.record.models) good &&= await this.#ask(worker, watch, id);
    if (this.#control.signal.aborted) return;
    const waitMs = good ? 0 : Math.min(FIRST_RETRY_MS * 2 ** watch.failures, LONGEST_RETRY_MS);
    watch.failures = good ? 0 : watch.failures + 1;
    watch.checkAtMs = this.#fleet.now() + waitMs;
    if (good) await this.#readCache(worker);
    const before = worker.lifecycle;
    if (good && !worker.serves && before !== 'draining') this.#fleet.mark(worker, 'probation');
    if (before !== worker.lifecycle || !good) {
      const { record, lifecycle, lastError } = worker;
      this.#log.info(
        { worker: record.id, state: lifecycle, lastError },
        good ? 'worker checked' : 'worker failed check',
      );
    }
  }

  async #ask(worker: Worker, watch: Watch, model: string): Promise<boolean> {
    const known = watch.questions.get(model);
    for (const question of known === undefined ? QUESTIONS : [known]) {
      const verdict = await this.#tryQuestion(worker, model, question);
      if (verdict === 'good') {
        watch.questions.set(model, question);
        worker.found(model, question.path === '/v1/embeddings' ? 'embedding' : 'generation');
      }
      if (verdict !== 'other_way') return verdict === 'good';
    }
    watch.questions.delete(model);
    return false;
  }

  async #tryQuestion(worker: Worker, model: string, question: Question): Promise<'good' | 'bad' | 'other_way'> {
    const { path, stream, ask } = question;
    this.#checks += 1;
    const request = {
      path,
      stream,
      body: JSON.stringify({ model, ...ask, ...(stream ? { stream } : {}) }),
      callId: `check-${this.#checks}`,
    };
    const attempt = new Attempt(this.#fleet, this.#reserve(worker, model), request, CHECK_LIMITS);
    const end = await attempt.run(this.#outbound, this.#control.signal);
    if (end.kind === 'refused') worker.complain(end.error.message);
    if (end.kind === 'refused' || (end.kind === 'fault' && end.fault.reason === 'not_found')) return 'other_way';
    return (await endsWell(end)) ? 'good' : 'bad';
  }

  /** A check is a short call like any other: it counts, and is learned from. */
  #reserve(worker: Worker, model: string): Reservation {
    const nowMs = this.#fleet.now();
    const { times } = worker;
    const prediction = times.of(model).predict(QUESTION_WORK, worker.loadAt(nowMs, this.#fleet.othersTimes), {
      neutral: USUAL_SPEED,
      distanceMs: times.distanceMs(nowMs),
      nowMs,
    });
    const call = { model, work: QUESTION_WORK, prediction, cachedTokens: 0, prefix: null, showsContent: true };
    return worker.reserve(call, nowMs);
  }

  async #readCache(worker: Worker): Promise<void> {
    const limits = { connectMs: CONNECT_MS, signal: this.#control.signal };
    const tokens = await readCacheTokens(this.#fleet, worker, this.#outbound, limits);
    if (tokens !== null) worker.learnCacheTokens(tokens);
  }

  async #measure(worker: Worker, watch: Watch): Promise<void> {
    await measureRtt(this.#fleet, worker, this.#outbound, { connectMs: CONNECT_MS, signal: this.#control.signal });
    watch.rttAtMs = this.#fleet.now() + RTT_EVERY_MS * (0.8 + 0.4 * this.#fleet.random());
  }
}

function endsWell(end: AttemptEnd): Promise<boolean> | boolean {
  if (end.kind !== 'stream') return end.kind === 'whole';
  return new Promise((resolve) => {
    end.rest.subscribe({ onEvents: () => {}, onEnd: ({ kind }) => resolve(kind === 'complete') });
  });
}
