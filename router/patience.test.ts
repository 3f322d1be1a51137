import { expect, test } from 'vitest';
import { patience } from './patience.ts';
import { type Choice, pick } from './pick.ts';
import { fleetOf, need, record, workerOf } from './pick-testing.ts';

const most = { connectMs: 1_000, firstContentMs: 60_000, idleMs: 30_000 };
const asked = { model: 'tiny', isLast: false };

function chosen(learn: (times: ReturnType<typeof workerOf>['times']) => void, ids = ['a', 'b']): Choice {
  const { fleet } = fleetOf(ids.map((id) => record(id)));
  for (const id of ids) learn(workerOf(fleet, id).times);
  const choice = pick(fleet, { ...need, promptTokens: 1_000 });
  if (choice.kind === 'refusal') throw new Error(choice.constraint);
  return choice;
}

test('I27 a first content is waited for by its prediction, never less than two seconds, and longest where nobody else can be asked', () => {
  const slow = (times: ReturnType<typeof workerOf>['times']) => times.of('tiny').prefill.learn(1_000, 5_000, 0);
  const quick = (times: ReturnType<typeof workerOf>['times']) => times.of('tiny').prefill.learn(1_000, 50, 0);
  const choice = chosen(slow);
  expect(patience(choice, asked, most).firstContentMs).toBeCloseTo(3 * choice.reservation.prediction.ttftMs);
  expect(patience(choice, asked, most).firstContentMs).toBeGreaterThan(10_000);
  expect(patience(chosen(quick), asked, most).firstContentMs).toBe(2_000);
  expect(patience(chosen(quick, ['a']), asked, most).firstContentMs).toBe(60_000);
  expect(patience(chosen(quick), { ...asked, isLast: true }, most).firstContentMs).toBe(60_000);
  expect(
    patience(
      chosen(() => {}),
      asked,
      most,
    ).firstContentMs,
  ).toBe(60_000);
});

test('I29, I30 silence in an answer is bounded by twenty tokens’ time or ten seconds, a slow stream that goes on by nothing', () => {
  const writing = (perTokenMs: number) => (times: ReturnType<typeof workerOf>['times']) => {
    for (let call = 0; call < 50; call += 1) times.of('tiny').learnDecode(100, 100 * perTokenMs, 1, call);
  };
  expect(patience(chosen(writing(20)), asked, most).idleMs).toBe(10_000);
  const slow = chosen(writing(1_000));
  expect(patience(slow, asked, most).idleMs).toBeCloseTo(20 * slow.reservation.prediction.perTokenMs);
  expect(patience(chosen(writing(10_000)), asked, most).idleMs).toBe(30_000);
  expect(
    patience(
      chosen(() => {}),
      asked,
      most,
    ).idleMs,
  ).toBe(30_000);
});
