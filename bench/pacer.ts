/**
 * Tells, from a thread of its own, when the next call of an open loop is due: at random moments that hang together with nothing.
 * A timer of the event loop knows whole milliseconds only, and a busy loop would take the core from the worker.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { clockMs } from './caller.ts';

const { perSecond, untilMs } = workerData as { perSecond: number; untilMs: number };
const cell = new Int32Array(new SharedArrayBuffer(4));
let dueMs = clockMs();
while (dueMs < untilMs) {
  dueMs += (-Math.log(1 - Math.random()) * 1_000) / perSecond;
  const waitMs = dueMs - clockMs();
  if (waitMs > 0) Atomics.wait(cell, 0, 0, waitMs);
  parentPort?.postMessage(dueMs);
}
