import { expect, test } from 'vitest';
import { fleetOf, record, refusal, reserve } from './pick-testing.ts';
import type { Reservation } from './reservation.ts';

const SERVICE_MS = 2_000;

/** A worker of four slots whose calls take two seconds each, with a queue that has stood for five seconds. */
function queued() {
  const { fleet, clock } = fleetOf([record('a', { slots: 4 })]);
  for (let call = 0; call < 50; call += 1) fleet.get('a')?.times.of('tiny').learnService(SERVICE_MS);
  const open: Reservation[] = [];
  const add = () => open.push(reserve(fleet));
  for (let call = 0; call < 8; call += 1) add();
  clock.nowMs += 4_900;
  add();
  clock.nowMs += 200;
  return { fleet, clock, open, add };
}

test('a burst may queue; a queue that has stood for five seconds lets nobody in who would wait long, and says until when', () => {
  const { fleet, clock, open, add } = queued();
  const { code, constraint, retryAfterMs } = refusal(fleet);
  expect({ code, constraint }).toEqual({ code: 'overloaded', constraint: 'queue' });
  // Ten are there, each place comes free after 500 ms, and a wait of a second is no matter.
  expect(retryAfterMs).toBeGreaterThanOrEqual(2_000);
  expect(retryAfterMs).toBeLessThanOrEqual(2_400);
  for (const one of open.splice(0, 4)) one.release(clock.nowMs);
  add();
});

test('five seconds in which nobody had to wait end it', () => {
  const { fleet, clock, open, add } = queued();
  expect(refusal(fleet).constraint).toBe('queue');
  for (const one of open.splice(0)) one.release(clock.nowMs);
  clock.nowMs += 5_100;
  for (let call = 0; call < 12; call += 1) add();
});

test('a call that was let in and failed at one worker is not turned away half way', () => {
  const { fleet } = queued();
  expect(refusal(fleet).constraint).toBe('queue');
  reserve(fleet, { tried: [{ worker: 'b', operator: 'op_b' }] });
});
