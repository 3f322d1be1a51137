import { expect, test } from 'vitest';
import { Breaker } from './breaker.ts';

/** Faults until the breaker opens; returns when it may be tried again. */
function eject(breaker: Breaker, nowMs: number): number {
  for (let faults = 0; faults < 5; faults += 1) breaker.fault(nowMs);
  return breaker.openUntilMs ?? Number.NaN;
}

test('five faults in a row eject, four and a success do not', () => {
  const breaker = new Breaker();
  for (let faults = 0; faults < 4; faults += 1) expect(breaker.fault(0)).toBe(false);
  breaker.success(0);
  for (let faults = 0; faults < 4; faults += 1) expect(breaker.fault(0)).toBe(false);
  expect(breaker.state(0)).toBe('closed');
  expect(breaker.fault(0)).toBe(true);
  expect(breaker.state(0)).toBe('open');
});

test('more faults than good answers among 20 calls of 30 s eject, however mixed', () => {
  const breaker = new Breaker();
  const ejected: boolean[] = [];
  for (let turn = 0; turn < 8; turn += 1) {
    breaker.success(turn * 1000);
    ejected.push(breaker.fault(turn * 1000), breaker.fault(turn * 1000));
  }
  expect(ejected.findIndex(Boolean)).toBeGreaterThanOrEqual(0);
});

test('faults older than 30 s are forgotten', () => {
  const breaker = new Breaker();
  for (let turn = 0; turn < 100; turn += 1) {
    breaker.success(turn * 10_000);
    breaker.fault(turn * 10_000);
    expect(breaker.fault(turn * 10_000)).toBe(false);
  }
});

test('an ejected worker returns by one trial at a time', () => {
  const breaker = new Breaker();
  const backMs = eject(breaker, 0);
  expect(breaker.admits(backMs - 1)).toBe(false);
  expect(breaker.state(backMs)).toBe('half_open');
  expect(breaker.admits(backMs)).toBe(true);
  expect(breaker.begin(backMs)).toBe(true);
  expect(breaker.admits(backMs)).toBe(false);
  breaker.endTrial();
  expect(breaker.admits(backMs)).toBe(true);
  breaker.success(backMs);
  expect(breaker.state(backMs)).toBe('closed');
});

test('each failed return doubles the time out, up to 5 min', () => {
  const breaker = new Breaker();
  const outMs: number[] = [];
  let backMs = eject(breaker, 0);
  outMs.push(backMs);
  for (let turn = 0; turn < 7; turn += 1) {
    expect(breaker.fault(backMs)).toBe(true);
    const nextMs = breaker.openUntilMs ?? Number.NaN;
    outMs.push(nextMs - backMs);
    backMs = nextMs;
  }
  expect(outMs).toEqual([10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000]);
});

test('a worker that has been well for long starts over with the shortest time out', () => {
  const breaker = new Breaker();
  const backMs = eject(breaker, 0);
  breaker.success(backMs);
  expect(eject(breaker, backMs + 400_000)).toBe(backMs + 400_000 + 10_000);
});
