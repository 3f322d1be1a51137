import { expect, test } from 'vitest';
import { LearnedTimes, neutralFirstContentMs } from './predict.ts';

test('a worker is predicted as it was seen, at another load too', () => {
  const times = new LearnedTimes();
  times.learnRtt(50);
  for (let call = 0; call < 50; call += 1) times.learnFirstContent(50 + 200, 1, call * 100); // 100 ms, twice as full
  expect(times.predictMs(0, 0)).toBeCloseTo(150);
  expect(times.predictMs(1, 0)).toBeCloseTo(250);
});

test('a failure never makes a worker look faster, however fast it fails', () => {
  const times = new LearnedTimes();
  times.learnFirstContent(100, 0, 0);
  const before = times.predictMs(0, 0);
  times.learnFailure(1, 0, before, 0);
  expect(times.predictMs(0, 0)).toBeGreaterThan(before);
});

test('a bad past is outweighed within two minutes by one good sample each 30 s', () => {
  const times = new LearnedTimes();
  times.learnFirstContent(100, 0, 0);
  for (let timeout = 0; timeout < 5; timeout += 1) times.learnFailure(60_000, 0, 60_000, 0);
  for (let nowMs = 30_000; nowMs <= 120_000; nowMs += 30_000) times.learnFirstContent(100, 0, nowMs);
  expect(times.predictMs(0, 0)).toBeLessThan(5000);
});

test('an unknown worker is taken for the mean of the known ones', () => {
  const [known, other, unknown] = [new LearnedTimes(), new LearnedTimes(), new LearnedTimes()];
  known.learnFirstContent(100, 0, 0);
  other.learnFirstContent(300, 0, 0);
  const pool = [known, other, unknown].map((times) => ({ times }));
  expect(neutralFirstContentMs(pool)).toBe(200);
  expect(neutralFirstContentMs([])).toBeGreaterThan(0);
});
