import { expect, test } from 'vitest';
import { ModelTimes, neutralSpeed, USUAL_SPEED, WorkerTimes } from './predict.ts';

const idle = { slots: 8, inFlight: 0, waiting: 0, waitingTokens: 0, lateness: 1 };
const work = { uncachedTokens: 1_000, outputTokens: 100, sequences: 1 };
const shown = (times: ModelTimes, load = idle, ask = work) =>
  times.predict(ask, load, { neutral: USUAL_SPEED, distanceMs: 0, nowMs: 0 });

test('time to first content is the distance, the prompts sent before and not answered, and the own prompt', () => {
  const times = new ModelTimes();
  for (let call = 0; call < 200; call += 1) {
    const tokens = 100 + (call % 20) * 400;
    times.prefill.learn(tokens, 80 + tokens * 0.2, call * 100);
  }
  expect(shown(times).ttftMs).toBeCloseTo(80 + 200, -1);
  expect(shown(times, { ...idle, inFlight: 1, waiting: 1, waitingTokens: 4_000 }).ttftMs).toBeCloseTo(80 + 1_000, -2);
  expect(
    times.predict(work, idle, { neutral: USUAL_SPEED, distanceMs: 150, nowMs: 0 }).ttftMs - shown(times).ttftMs,
  ).toBeCloseTo(150);
});

test('time between tokens follows the answers being written now, not those of a while ago', () => {
  const times = new ModelTimes();
  for (let call = 0; call < 200; call += 1)
    times.learnDecode(100, 100 * (10 + 0.5 * (call % 16)), call % 16, call * 100);
  expect(shown(times, { ...idle, inFlight: 3 }).perTokenMs).toBeCloseTo(12, 0);
  expect(shown(times, { ...idle, slots: 64, inFlight: 31 }).perTokenMs).toBeGreaterThan(24);
});

test('when all slots are taken the wait for one is predicted, longer for each call in the queue', () => {
  const times = new ModelTimes();
  for (let call = 0; call < 50; call += 1) times.learnService(2_000);
  const wait = (inFlight: number) => shown(times, { ...idle, inFlight }).slotWaitMs;
  expect([wait(0), wait(7), wait(8), wait(12)]).toEqual([0, 0, 250, 1_250]);
  expect(times.slotFreeMs(8)).toBeCloseTo(250);
});

test('R3 a worker that becomes five times slower is predicted so within sixty calls, and back again', () => {
  const times = new ModelTimes();
  let nowMs = 0;
  const calls = (count: number, factor: number) => {
    for (let call = 0; call < count; call += 1) {
      nowMs += 1_000;
      const tokens = 200 + (call % 10) * 500;
      times.prefill.learn(tokens, factor * (30 + tokens / 12), nowMs);
    }
  };
  const usual = 30 + 1_000 / 12;
  calls(200, 1);
  expect(shown(times).ttftMs / usual).toBeCloseTo(1, 1);
  calls(60, 5);
  expect(shown(times).ttftMs / usual).toBeGreaterThan(2);
  calls(200, 5);
  expect(shown(times).ttftMs / usual).toBeGreaterThan(4);
  calls(300, 1);
  expect(shown(times).ttftMs / usual).toBeLessThan(1.6);
});

test('R3 three calls in a row that take far longer than expected are believed at once, two are not, nor any beside calls of other gateways', () => {
  const times = new ModelTimes();
  let nowMs = 0;
  const call = (factor: number, isSole = true) => {
    nowMs += 1_000;
    times.prefill.learn(1_000, factor * (30 + 1_000 / 12), nowMs, isSole);
  };
  for (let calls = 0; calls < 100; calls += 1) call(1);
  const usual = shown(times).ttftMs;
  call(5);
  call(5);
  call(1);
  for (let calls = 0; calls < 3; calls += 1) call(5, false);
  expect(shown(times).ttftMs).toBeLessThan(1.3 * usual);
  for (let calls = 0; calls < 5; calls += 1) call(5);
  expect(shown(times).ttftMs).toBeGreaterThan(1.5 * usual);
});

test('R2 the speed of a worker is known within a quarter after fifty calls, whatever was usual', () => {
  for (const factor of [0.25, 4, 40]) {
    const times = new ModelTimes();
    for (let call = 0; call < 50; call += 1)
      times.prefill.learn(100 + call * 50, factor * (30 + (100 + call * 50) / 12), call);
    expect(shown(times).ttftMs / (factor * (30 + 1_000 / 12))).toBeGreaterThan(0.75);
    expect(shown(times).ttftMs / (factor * (30 + 1_000 / 12))).toBeLessThan(1.25);
  }
});

test('one call stuck for an hour does not ruin a prediction', () => {
  const times = new ModelTimes();
  for (let call = 0; call < 50; call += 1) times.prefill.learn(1_000, 100, call);
  times.prefill.learn(1_000, 3_600_000, 50);
  expect(shown(times).ttftMs).toBeLessThan(120);
});

test('a failure never makes a worker look faster, however fast it fails, and is forgotten within two minutes', () => {
  const times = new WorkerTimes();
  times.learnRtt(50);
  times.learnFailure(1, 200, 0);
  expect(times.distanceMs(0)).toBe(650);
  times.learnFailure(1, 650, 0);
  expect(times.distanceMs(0)).toBe(2_000);
  expect(times.distanceMs(120_000)).toBeLessThan(90);
  times.learnGood(0);
  expect(times.distanceMs(0)).toBeLessThan(600);
});

test('an unknown worker is taken to be as fast as the harmonic mean of the known ones', () => {
  const [known, other, unknown] = [new WorkerTimes(), new WorkerTimes(), new WorkerTimes()];
  for (let call = 0; call < 20; call += 1) {
    known.of('tiny').prefill.learn(1_000, 2 * (30 + 1_000 / 12), call);
    other.of('tiny').prefill.learn(1_000, 4 * (30 + 1_000 / 12), call);
  }
  const speed = neutralSpeed(
    [known, other, unknown].map((times) => ({ times, declared: USUAL_SPEED })),
    'tiny',
  );
  expect(speed).toEqual({ prefill: expect.closeTo(8 / 3), decode: 1 });
  expect(unknown.of('tiny').predict(work, idle, { neutral: speed, distanceMs: 0, nowMs: 0 }).ttftMs).toBeCloseTo(
    (8 / 3) * (30 + 1_000 / 12),
  );
});

test('a worker that was not seen for long is taken more and more for one like the others, so that a bad moment is no life sentence', () => {
  const times = new ModelTimes();
  for (let call = 0; call < 20; call += 1) times.prefill.learn(1_000, 8 * (30 + 1_000 / 12), call);
  const at = (nowMs: number) => times.predict(work, idle, { neutral: USUAL_SPEED, distanceMs: 0, nowMs }).ttftMs;
  expect(at(5_000)).toBeCloseTo(8 * (30 + 1_000 / 12), 0);
  expect(at(120_000)).toBeCloseTo(4.5 * (30 + 1_000 / 12), 0);
  expect(at(3_600_000)).toBeCloseTo(30 + 1_000 / 12, 0);
});

test('a worker whose answers seem to take no time at all is predicted in numbers, also when it was not seen for long', () => {
  const times = new ModelTimes();
  for (let call = 0; call < 300; call += 1) {
    times.prefill.learn(100, 0, call);
    times.learnDecode(64, 0, 1, call);
  }
  for (const nowMs of [300, 60_000, 3_600_000]) {
    const predicted = times.predict(work, idle, { neutral: { prefill: 0.01, decode: 0.01 }, distanceMs: 0, nowMs });
    for (const value of Object.values(predicted)) expect(value).toBeGreaterThanOrEqual(0);
    expect(Number.isFinite(predicted.totalMs)).toBe(true);
  }
});
