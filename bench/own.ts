/**
 * `npm run bench:own`: what a call costs in the product's own code, everything in it but the sockets: key, limits, parse, quote, hold, choice,
 * relay, journal, settling into a real Postgres. In units of a gauge (the answer's 0.6 kB parsed and written again) taken in the same batches, so
 * that figures of different moments and machines can be compared; the least of several batches, as other work only adds to it.
 */
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { STREAM_FRAMES } from './answers.ts';
import { storeResult } from './machine.ts';
import type { Batch, Order } from './own-gateway.ts';
import { type Child, leaveMeasuredCore } from './processes.ts';
import { buildWorld } from './world.ts';

const HELP = `npm run bench:own

Prints the CPU of a whole call, a stream and a frame of it without any sockets, and keeps them in bench/results/.
`;

/** Each batch long enough for the collector to come by more than once. */
const WHOLE: Order = { stream: false, batches: 16, callsPerBatch: 3_000 };
const STREAMED: Order = { stream: true, batches: 16, callsPerBatch: 300 };
/** Until the code is compiled for what it does. */
const WARM_BATCHES = 6;

const { values } = parseArgs({ options: { help: { type: 'boolean', default: false } } });
if (values.help) process.stdout.write(HELP);
else await bench();
process.exit();

async function bench(): Promise<void> {
  leaveMeasuredCore();
  const world = await buildWorld();
  try {
    const child = await world.startBeside('bench/own-gateway.ts', [world.keys[0] ?? '']);
    const whole = await least(child, WHOLE);
    const stream = await least(child, STREAMED);
    const calls = [WHOLE, STREAMED].reduce(
      (sum, order) => sum + order.callsPerBatch * (order.batches + WARM_BATCHES),
      0,
    );
    // All of them are settled, at their price, or this throws.
    await world.books(calls);
    const result = {
      wholeUs: whole.callUs,
      wholeGauges: whole.callUs / whole.gaugeUs,
      streamUs: stream.callUs,
      streamGauges: stream.callUs / stream.gaugeUs,
      frameUs: stream.callUs / STREAM_FRAMES,
    };
    for (const [name, value] of Object.entries(result))
      process.stdout.write(`${name.padEnd(14)} ${value.toFixed(1)}\n`);
    await storeResult('own', result);
  } finally {
    await world.stop();
  }
}

async function least(child: Child, order: Order): Promise<Batch> {
  await ask(child, { ...order, batches: WARM_BATCHES });
  const batches = await ask(child, order);
  const min = (of: (batch: Batch) => number) => Math.min(...batches.map(of));
  return { callUs: min(({ callUs }) => callUs), gaugeUs: min(({ gaugeUs }) => gaugeUs) };
}

async function ask(child: Child, order: Order): Promise<Batch[]> {
  child.process.send(order);
  for (;;) {
    // The preloaded measured.ts answers every message with what was used so far.
    const [answer] = await once(child.process, 'message');
    if (Array.isArray(answer)) return answer;
  }
}
