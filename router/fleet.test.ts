/** What a fleet forgets, and when: marks have an end, and whoever is removed leaves nothing behind. */
import { Buffer } from 'node:buffer';
import { expect, test } from 'vitest';
import { fault } from './fault.ts';
import { fleetOf, idOf, need, record, refusal, reserve, wishing, workerOf } from './pick-testing.ts';
import { prefixOf } from './prefix.ts';

const prompt = (seed: number) => prefixOf('tenant', [Buffer.alloc(20_000, `conversation ${seed} `)]);
const asking = (seed: number) => ({ ...wishing({ sort: 'ttft' }), promptTokens: 5_000, prefix: prompt(seed) });

test('R8 a worker that answers 500 in a millisecond gets less than one call in a hundred after its fifth', () => {
  const { fleet, clock } = fleetOf(['good', 'other', 'bad'].map((id) => record(id, { slots: 64 })));
  const chosen: string[] = [];
  for (let call = 0; call < 3_000; call += 1) {
    clock.nowMs += 10;
    const reservation = reserve(fleet);
    chosen.push(idOf(reservation));
    if (idOf(reservation) === 'bad') {
      reservation.failed(1, clock.nowMs);
      fleet.blame(reservation.worker, fault('http_error', 'HTTP 500'));
    } else {
      reservation.firstContent(100, clock.nowMs);
      fleet.good(reservation.worker);
    }
    reservation.release(clock.nowMs);
  }
  const bad = chosen.filter((id) => id === 'bad').length;
  expect(bad).toBeGreaterThan(0);
  expect((bad - 5) / chosen.length).toBeLessThan(0.01);
});

test('I14 every mark of a worker ends: full, failed, ejected, without its model, and the queue of its pool', () => {
  const { fleet, clock } = fleetOf([record('a'), record('b')]);
  const a = workerOf(fleet, 'a');
  fleet.blame(a, fault('load', 'HTTP 503'));
  fleet.blame(a, fault('not_found', 'HTTP 404'), 'tiny');
  for (let faults = 0; faults < 5; faults += 1) fleet.blame(a, fault('http_error', 'HTTP 500'));
  a.times.learnFailure(60_000, 60_000, 0);
  expect(idOf(reserve(fleet))).toBe('b');
  // Nothing is heard of it, good or bad: it is tried again all the same.
  clock.nowMs = 600_000;
  const without = { exclude: new Set(['b']) };
  expect(a.times.distanceMs(clock.nowMs)).toBeLessThan(1);
  expect(idOf(reserve(fleet, without))).toBe('a');
});

test('a worker that has not the model is not asked for it for a minute, or until a check finds it; its others go on', () => {
  const models = ['tiny', 'other'].map((id) => ({ id, contextLength: 8_192 }));
  const { fleet, clock } = fleetOf([record('a', { models })]);
  const a = workerOf(fleet, 'a');
  a.found('tiny', 'generation');
  fleet.blame(a, fault('not_found', 'HTTP 404'), 'tiny');
  expect(a.kinds.has('tiny')).toBe(false); // the next check is due
  expect(refusal(fleet).constraint).toBe('model');
  expect(a.state(0)).toBe('active');
  reserve(fleet, { model: 'other' });
  a.found('tiny', 'generation');
  reserve(fleet);
  fleet.blame(a, fault('not_found', 'HTTP 404'), 'tiny');
  clock.nowMs += 60_000;
  reserve(fleet);
});

test('I15 what a prompt was bound to dies with the worker', () => {
  for (const count of [2, 400]) {
    const { fleet } = fleetOf(Array.from({ length: count }, (_, index) => record(`w${index}`, { slots: 64 })));
    const home = reserve(fleet, asking(1));
    home.release(0);
    fleet.remove(idOf(home));
    const next = reserve(fleet, asking(1));
    expect(idOf(next)).not.toBe(idOf(home));
    next.release(0);
    expect(idOf(reserve(fleet, asking(1)))).toBe(idOf(next));
  }
});

test('I16 a worker that is removed leaves nothing behind, however often workers come and go', () => {
  const { fleet } = fleetOf(Array.from({ length: 200 }, (_, index) => record(`w${index}`, { slots: 64 })));
  for (let round = 0; round < 500; round += 1) {
    const reservation = reserve(fleet, asking(round));
    reservation.release(0);
    const { id } = reservation.worker.record;
    fleet.remove(id);
    fleet.upsert(record(`${id}'`.slice(0, 40), { slots: 64 }));
  }
  expect(fleet.all()).toHaveLength(200);
  for (const { record: known } of fleet.all()) fleet.remove(known.id);
  expect(fleet.candidates.size).toBe(0);
  expect(fleet.prefixes.size).toBe(0);
  expect(fleet.models()).toEqual([]);
});

test('I19 of equals any is taken, not always the same', () => {
  const { fleet } = fleetOf(['a', 'b', 'c', 'd'].map((id) => record(id)));
  const counts = new Map<string, number>();
  for (let call = 0; call < 400; call += 1) {
    const reservation = reserve(fleet);
    counts.set(idOf(reservation), (counts.get(idOf(reservation)) ?? 0) + 1);
    reservation.release(0);
  }
  for (const count of counts.values()) expect(count).toBeGreaterThan(60);
  expect(counts.size).toBe(4);
});

test('I20 a fleet of which nothing is known yet serves, and so does one of which nothing was heard for long', () => {
  const { fleet, clock } = fleetOf([record('a'), record('b')]);
  reserve(fleet).firstContent(100, 0);
  clock.nowMs = 3_600_000;
  for (let call = 0; call < 8; call += 1) reserve(fleet);
});

test('a worker that is always much slower than predicted is ejected where its peers are not, and never all of them', () => {
  const late = (ids: readonly string[]) => {
    const { fleet, clock } = fleetOf(['a', 'b', 'c', 'd'].map((id) => record(id)));
    for (let call = 0; call < 60; call += 1) {
      clock.nowMs += 100;
      for (const worker of fleet.all()) {
        const slow = ids.includes(worker.record.id) ? 5 : 1.1;
        worker.times.of('tiny').surprise.learn(slow * 100, 100);
        fleet.begun(worker, 'tiny');
      }
    }
    return fleet.all().map((worker) => worker.state(clock.nowMs));
  };
  expect(late(['b'])).toEqual(['active', 'degraded', 'active', 'active']);
  expect(late([])).toEqual(Array(4).fill('active'));
  expect(late(['a', 'b', 'c', 'd'])).toEqual(Array(4).fill('active'));
});

test('a stranger is taken to be as fast as its declared GPU, compared with how the others keep what they declared', () => {
  const { fleet } = fleetOf([
    record('seen', { gpu: 'a100' }),
    record('big', { gpu: 'h100' }),
    record('small', { gpu: 'l4' }),
  ]);
  const { times } = workerOf(fleet, 'seen');
  times.of('tiny').prefill.learn(1_000, 2 * (30 + 1_000 / 12), 0);
  const first = (id: string) =>
    reserve(fleet, {
      ...need,
      promptTokens: 1_000,
      exclude: new Set(['seen', 'big', 'small'].filter((one) => one !== id)),
    }).prediction.ttftMs;
  expect(first('big')).toBeCloseTo(0.4 * 2 * (30 + 1_000 / 12));
  expect(first('small')).toBeCloseTo(2.6 * 2 * (30 + 1_000 / 12));
});
