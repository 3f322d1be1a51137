/**
 * What several gateways have running on the same workers. Each publishes its own counts, of the workers where they changed, a few times a
 * second, and all of them every few seconds; absolute numbers, so that a lost or repeated message does no harm. Whoever falls silent
 * is forgotten with its counts. Nothing here is waited for by a call: without news each gateway goes by its own counts.
 */
import type { Fleet } from './fleet.ts';
import type { Worker } from './worker.ts';

export interface SharedLoadOptions {
  readonly fleet: Fleet;
  /** Of this gateway among those that share the fleet. */
  readonly id: string;
  /** Sends a text to all gateways, this one too or not. Must not throw. */
  readonly publish: (message: string) => void;
}

/** How often what changed is told. */
export const TELL_MS = 200;
/** How often everything is, changed or not. */
const TELL_ALL_MS = 5_000;
/** Three of those missed, and a gateway is gone. */
const FORGET_MS = 15_000;
/** Postgres takes 8,000 bytes in one notification. */
const WORKERS_PER_MESSAGE = 100;

/** What one tick weighs in how busy gateways are on average: some seconds are remembered. */
const BUSY_WEIGHT = 0.05;

/** In flight, waiting, waiting tokens. */
type Counts = readonly [number, number, number];
const NOTHING: Counts = [0, 0, 0];

interface Message {
  readonly gateway: string;
  /** What is not in this message, or in those that follow it, is nothing. */
  readonly all: boolean;
  readonly workers: Readonly<Record<string, Counts>>;
}

interface Peer {
  heardAtMs: number;
  readonly counts: Map<string, Counts>;
}

export class SharedLoad {
  readonly #options: SharedLoadOptions;
  readonly #peers = new Map<string, Peer>();
  /** What the others were told last. */
  readonly #told = new Map<string, Counts>();
  /** In flight on average, at this gateway and at all others together. */
  #own = 0;
  #others = 0;
  #toldAllAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: SharedLoadOptions) {
    this.#options = options;
  }

  /** To be called every `TELL_MS`. */
  tick(): void {
    const { fleet } = this.#options;
    const nowMs = fleet.now();
    const all = nowMs - this.#toldAllAtMs >= TELL_ALL_MS;
    if (all) this.#toldAllAtMs = nowMs;
    const news: [string, Counts][] = [];
    for (const worker of fleet.all()) {
      const own = countsOf(worker, nowMs);
      const told = this.#told.get(worker.record.id) ?? NOTHING;
      const isNews = all ? own[0] > 0 : own.some((count, index) => count !== told[index]);
      if (isNews) news.push([worker.record.id, own]);
    }
    this.#weigh();
    this.#tell(news, all);
    for (const [id, { heardAtMs }] of this.#peers) if (nowMs - heardAtMs >= FORGET_MS) this.#forget(id);
  }

  /** A message of any gateway; of what is none nothing is taken. */
  receive(text: string): void {
    const message = parse(text);
    if (message === null || message.gateway === this.#options.id) return;
    const peer = this.#peers.get(message.gateway) ?? { heardAtMs: 0, counts: new Map() };
    this.#peers.set(message.gateway, peer);
    peer.heardAtMs = this.#options.fleet.now();
    if (message.all) this.#clear(peer);
    for (const [worker, counts] of Object.entries(message.workers)) this.#set(peer, worker, counts);
  }

  /** Tells the others that nothing of this gateway runs any more. */
  leave(): void {
    this.#tell(
      [...this.#told.keys()].map((id) => [id, NOTHING]),
      false,
    );
  }

  /** Whoever runs little knows little of what the others do: none of them is taken for busier than this gateway. */
  #weigh(): void {
    const { fleet } = this.#options;
    let own = 0;
    let others = 0;
    for (const { inFlight, elsewhere } of fleet.all()) {
      own += inFlight;
      others += elsewhere.inFlight;
    }
    this.#own += BUSY_WEIGHT * (own - this.#own);
    this.#others += BUSY_WEIGHT * (others - this.#others);
    fleet.othersTimes = this.#own === 0 ? 0 : Math.min(this.#peers.size, this.#others / this.#own);
  }

  #tell(news: readonly (readonly [string, Counts])[], all: boolean): void {
    if (all) this.#told.clear();
    for (const [id, counts] of news) {
      if (counts[0] === 0) this.#told.delete(id);
      else this.#told.set(id, counts);
    }
    for (let at = 0; at < news.length || (all && at === 0); at += WORKERS_PER_MESSAGE) {
      const workers = Object.fromEntries(news.slice(at, at + WORKERS_PER_MESSAGE));
      const message: Message = { gateway: this.#options.id, all: all && at === 0, workers };
      this.#options.publish(JSON.stringify(message));
    }
  }

  #forget(id: string): void {
    const peer = this.#peers.get(id);
    if (peer === undefined) return;
    this.#clear(peer);
    this.#peers.delete(id);
  }

  #clear(peer: Peer): void {
    for (const worker of [...peer.counts.keys()]) this.#set(peer, worker, NOTHING);
  }

  #set(peer: Peer, id: string, counts: Counts): void {
    const before = peer.counts.get(id) ?? NOTHING;
    if (counts[0] === 0) peer.counts.delete(id);
    else peer.counts.set(id, counts);
    const worker = this.#options.fleet.get(id);
    if (worker === undefined) return;
    worker.elsewhere.inFlight += counts[0] - before[0];
    worker.elsewhere.waiting += counts[1] - before[1];
    worker.elsewhere.waitingTokens += counts[2] - before[2];
  }
}

function countsOf(worker: Worker, nowMs: number): Counts {
  worker.settleSilent(nowMs);
  return [worker.inFlight, worker.waiting, worker.waitingTokens];
}

function parse(text: string): Message | null {
  try {
    const message = JSON.parse(text) as Message;
    const isMessage = typeof message.gateway === 'string' && Object.values(message.workers).every(isCounts);
    return isMessage ? message : null;
  } catch {
    return null;
  }
}

function isCounts(value: unknown): value is Counts {
  return (
    Array.isArray(value) && value.length === 3 && value.every((count) => Number.isSafeInteger(count) && count >= 0)
  );
}
