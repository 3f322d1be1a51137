import { Buffer } from 'node:buffer';
import { expect, test } from 'vitest';
import { fault } from './fault.ts';
import { look, pick } from './pick.ts';
import { fleetOf, idOf, need, never, only, record, refusal, reserve, wishing, workerOf } from './pick-testing.ts';
import { prefixOf } from './prefix.ts';
import type { Reservation } from './reservation.ts';
import type { WorkerRecord } from './worker.ts';

const distant = (rtts: Record<string, number>, more: Partial<WorkerRecord> = {}) => {
  const built = fleetOf(Object.keys(rtts).map((id) => record(id, more)));
  for (const [id, rttMs] of Object.entries(rtts)) workerOf(built.fleet, id).times.rttMs = rttMs;
  return built;
};

test('R1 the near one of two equal workers is taken until the prompts before it outweigh the distance', () => {
  const { fleet } = distant({ near: 20, far: 200 }, { slots: 1_000 });
  const ask = () => idOf(reserve(fleet, { ...wishing({ sort: 'ttft' }), promptTokens: 600 })); // 50 ms each, as usual
  expect(Array.from({ length: 6 }, ask)).toEqual(['near', 'near', 'near', 'near', 'far', 'near']);
});

test('R1 calls begin to overflow to the far worker within a tenth of where the queue outweighs the way', () => {
  const { fleet } = distant({ near: 20, far: 200 }, { slots: 1_000 });
  const near: string[] = [];
  const ask = () => idOf(reserve(fleet, { ...wishing({ sort: 'ttft' }), promptTokens: 60 }));
  while (ask() === 'near') near.push('near');
  // 5 ms each: of the 180 ms that lie between them, thirty-six.
  expect(near.length / 36).toBeGreaterThan(0.9);
  expect(near.length / 36).toBeLessThan(1.1);
});

test('a burst goes to the far worker rather than into the queue of the near one', () => {
  const { fleet } = distant({ near: 10, far: 150 }, { slots: 4 });
  const chosen = Array.from({ length: 8 }, () =>
    idOf(reserve(fleet, { ...wishing({ sort: 'ttft' }), outputTokens: 200 })),
  );
  expect(chosen).toEqual([...Array(4).fill('near'), ...Array(4).fill('far')]);
});

test('R4, I6, I23 a prompt goes where its beginning is known, until that worker is too far behind', () => {
  const { fleet } = fleetOf([record('a', { slots: 64 }), record('b', { slots: 64 })]);
  const prefix = prefixOf('tenant', [Buffer.alloc(40_000, 'conversation ')]);
  const long = { ...wishing({ sort: 'ttft' }), promptTokens: 10_000, prefix };
  const home = reserve(fleet, long);
  home.firstContent(500, 0);
  home.release(0);
  for (let turn = 0; turn < 50; turn += 1) {
    const next = reserve(fleet, long);
    expect(idOf(next)).toBe(idOf(home));
    next.firstContent(50, 0);
    next.release(0);
  }
  workerOf(fleet, idOf(home)).waitingTokens = 1_000_000;
  expect(idOf(reserve(fleet, long))).not.toBe(idOf(home));
});

test('a prompt that would hold up many running answers is charged for it', () => {
  const { fleet } = fleetOf([record('busy', { slots: 64 }), record('queue', { slots: 64 })]);
  for (let call = 0; call < 8; call += 1) {
    const running = workerOf(fleet, 'busy').reserve(reserved(10), 0);
    running.begun();
    workerOf(fleet, 'queue').reserve(reserved(10), 0);
  }
  expect(idOf(reserve(fleet, { promptTokens: 4_000 }))).toBe('queue');
});

function reserved(uncachedTokens: number) {
  const prediction = { ttftMs: 50, slotWaitMs: 0, promptsWaitMs: 0, perTokenMs: 15, totalMs: 300, delayMs: 0 };
  const work = { uncachedTokens, outputTokens: 16, sequences: 1 };
  return { model: 'tiny', work, prediction, cachedTokens: 0, prefix: null, showsContent: true };
}

test('what the caller wants decides: soonest first word, soonest end, or most tokens a second', () => {
  const { fleet } = fleetOf([record('quick'), record('fluent')]);
  const [quick, fluent] = ['quick', 'fluent'].map((id) => workerOf(fleet, id).times);
  if (quick === undefined || fluent === undefined) throw new Error('nobody there');
  quick.rttMs = 10;
  fluent.rttMs = 200;
  for (let call = 0; call < 50; call += 1) {
    quick.of('tiny').learnDecode(100, 100 * 40, 1, call);
    fluent.of('tiny').learnDecode(100, 100 * 10, 1, call);
  }
  expect(idOf(reserve(fleet, { ...wishing({ sort: 'ttft' }), outputTokens: 500 }))).toBe('quick');
  expect(idOf(reserve(fleet, { ...wishing({ sort: 'throughput' }), outputTokens: 500 }))).toBe('fluent');
  expect(idOf(reserve(fleet, { outputTokens: 500 }))).toBe('fluent');
  expect(idOf(reserve(fleet, { outputTokens: 2 }))).toBe('quick');
});

test('nobody who is predicted too slow for the caller is asked, and it is told when that will be better', () => {
  const { fleet } = distant({ near: 20, far: 900 });
  expect(idOf(reserve(fleet, wishing({ maxTtftMs: 500 })))).toBe('near');
  const refused = refusal(fleet, wishing({ maxTtftMs: 10 }));
  expect(refused).toMatchObject({ code: 'overloaded', constraint: 'max_ttft_ms', retryAfterMs: expect.any(Number) });
  expect(refusal(fleet, wishing({ deadlineMs: 30 })).constraint).toBe('deadline_ms');
});

test('R14 every worker that was looked at has a prediction and a score, or the reason of its refusal', () => {
  const { fleet } = fleetOf([record('a'), record('b', { country: 'DE' }), record('c', { state: 'draining' })]);
  const picked = pick(fleet, { ...need, ...wishing({ countries: never('DE') }) });
  expect(Array.from(picked.candidates, ({ worker, refused }) => [worker.record.id, refused])).toEqual([
    ['a', null],
    ['b', 'country'],
    ['c', 'state'],
  ]);
  expect(picked.candidates.at(0)).toMatchObject({
    prediction: { ttftMs: expect.any(Number) },
    score: expect.any(Number),
  });
});

test('I7 of a fleet however large 128 workers are looked at, and the one that knows the prompt is among them', () => {
  const { fleet } = fleetOf(Array.from({ length: 400 }, (_, index) => record(`w${index}`, { slots: 64 })));
  const prefix = prefixOf('tenant', [Buffer.alloc(40_000, 'conversation ')]);
  const first = reserve(fleet, { promptTokens: 10_000, prefix });
  const home = idOf(first);
  first.release(0);
  expect(look(fleet, { ...need, promptTokens: 10_000, prefix }).workers.length).toBeLessThanOrEqual(128);
  for (let turn = 0; turn < 20; turn += 1) {
    const next = reserve(fleet, { promptTokens: 10_000, prefix });
    expect(idOf(next)).toBe(home);
    next.firstContent(50, 0);
    next.release(0);
  }
});

test('I3 a worker that comes back from ejection takes its full share only after a minute', () => {
  const { fleet, clock } = fleetOf([record('a', { slots: 10 })]);
  const worker = workerOf(fleet, 'a');
  for (let faults = 0; faults < 5; faults += 1) fleet.blame(worker, fault('http_error', 'HTTP 500'));
  clock.nowMs = 10_000;
  fleet.good(worker);
  const room = () => {
    const held: Reservation[] = [];
    for (let picked = pick(fleet, need); picked.kind === 'choice'; picked = pick(fleet, need))
      held.push(picked.reservation);
    for (const one of held) one.release(clock.nowMs);
    return held.length;
  };
  const first = room();
  clock.nowMs += 30_000;
  const later = room();
  clock.nowMs += 30_000;
  expect(first).toBeLessThan(later);
  expect(later).toBeLessThan(room());
  expect(room()).toBe(80);
});

test('R3 a call that has shown nothing for far longer than predicted tells of its worker before it ends, unless others may stand before it', () => {
  const { fleet, clock } = fleetOf([record('a', { slots: 64 }), record('b', { slots: 64 })]);
  const [a, b] = [workerOf(fleet, 'a'), workerOf(fleet, 'b')];
  for (const { times } of [a, b])
    for (let call = 0; call < 20; call += 1) times.of('tiny').prefill.learn(1_000, 100, call);
  const late = reserve(fleet, { promptTokens: 1_000, ...wishing({ workers: only('a') }) });
  const predicted = () =>
    [...look(fleet, { ...need, promptTokens: 1_000 })].find(({ worker }) => worker === a)?.prediction?.ttftMs ?? 0;
  clock.nowMs = late.prediction.ttftMs;
  const usualMs = predicted();
  clock.nowMs = 5 * late.prediction.ttftMs;
  expect(predicted()).toBeGreaterThan(4 * usualMs);
  expect(idOf(reserve(fleet, { promptTokens: 1_000 }))).toBe('b');
  late.release(clock.nowMs);
  expect(predicted()).toBeLessThan(usualMs);
  a.elsewhere.inFlight = 1;
  reserve(fleet, { promptTokens: 1_000, ...wishing({ workers: only('a') }) });
  clock.nowMs *= 2;
  expect(predicted()).toBeLessThan(1.1 * usualMs);
});
