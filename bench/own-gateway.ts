/**
 * A gateway with all of the product in it but the sockets: answers come at once from memory, callers throw away what they get. Told over its
 * channel, it makes batches of calls and answers what each cost. `node own-gateway.ts KEY`, in the environment of `faregate serve`.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { tuneCollector } from '../gateway/collector.ts';
import { serveCall } from '../gateway/completions.ts';
import { readConfig } from '../gateway/config.ts';
import type { Exchange, Head } from '../gateway/exchange.ts';
import { startGateway } from '../gateway/node.ts';
import type { Gateway } from '../gateway/platform.ts';
import { afterReads } from '../gateway/turn.ts';
import { Ending } from '../router/ending.ts';
import type { Outbound } from '../router/outbound.ts';
import { models, streamFrames, wholeAnswer } from './answers.ts';
import { announceUrl } from './child.ts';
import { allWorkloads } from './workloads.ts';

export interface Order {
  readonly stream: boolean;
  readonly batches: number;
  readonly callsPerBatch: number;
}

/** Microseconds of the process's CPU: for one call, and for one round of the gauge in the same batch. */
export interface Batch {
  readonly callUs: number;
  readonly gaugeUs: number;
}

const CALLERS = 32;
const GAUGE_ROUNDS = 200;

tuneCollector();
const [key = ''] = process.argv.slice(2);
const { gateway, url } = await startGateway(readConfig(process.env));
while (!gateway.router.fleet.pool(models.fast).some((worker) => worker.serves)) await sleep(20);

const whole = wholeAnswer(models.fast);
const frames = streamFrames(models.fast, { continuous: true });
const gauge = whole.toString();

/** Each frame is a read of its own, as if it had come alone; what the reads of a turn brought is told together, as the real port does. */
const outbound: Outbound = ({ target }, sink) => {
  const stream = target.headers.accept === 'text/event-stream';
  const pieces = stream ? frames : [whole];
  sink.onSent();
  let next = 0;
  const push = () => {
    const piece = pieces[next++];
    if (piece === undefined) return sink.onEnd();
    sink.onData(piece);
    afterReads(push);
  };
  afterReads(() => {
    sink.onHead(200, stream ? 'text/event-stream; charset=utf-8' : 'application/json');
    push();
  });
  return { abort: () => {}, pause: () => {}, resume: () => {} };
};

class Caller implements Exchange {
  readonly control = new Ending();
  readonly #body: Buffer;
  status = 0;

  constructor(body: Buffer) {
    this.#body = body;
  }

  get headSent(): boolean {
    return this.status !== 0;
  }

  header(name: string): string | undefined {
    if (name === 'authorization') return `Bearer ${key}`;
    return name === 'content-type' ? 'application/json' : undefined;
  }

  body(): Promise<Uint8Array> {
    return Promise.resolve(this.#body);
  }

  head({ status }: Head): void {
    this.status = status;
  }

  write(): boolean {
    return true;
  }

  onDrain(): void {}

  end(): void {}
}

async function makeCalls(measured: Gateway, body: Buffer, calls: number): Promise<void> {
  let left = calls;
  const callAgain = async () => {
    while (left-- > 0) {
      const caller = new Caller(body);
      await new Promise<void>((served) => afterReads(() => void serveCall(measured, caller, 'chat').then(served)));
      if (caller.status !== 200) throw new Error(`a call was answered ${caller.status}`);
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, callAgain));
}

async function run({ stream, batches, callsPerBatch }: Order): Promise<Batch[]> {
  const measured = { ...gateway, router: { ...gateway.router, outbound } };
  const { body = '' } = allWorkloads.find(({ name }) => name === (stream ? 'stream, 0 ms' : 'small')) ?? {};
  const results: Batch[] = [];
  for (let batch = 0; batch < batches; batch++) {
    const callUs = await cpuUs(() => makeCalls(measured, Buffer.from(body), callsPerBatch));
    const gaugeUs = await cpuUs(async () => {
      for (let round = 0; round < GAUGE_ROUNDS; round++) JSON.stringify(JSON.parse(gauge));
    });
    results.push({ callUs: callUs / callsPerBatch, gaugeUs: gaugeUs / GAUGE_ROUNDS });
  }
  return results;
}

async function cpuUs(work: () => Promise<void>): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

process.on('message', (order: Order | 'used') => {
  if (order !== 'used') void run(order).then((batches) => process.send?.(batches));
});
process.on('SIGTERM', () => process.exit());
announceUrl(url);
