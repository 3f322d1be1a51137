import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fault } from './fault.ts';
import { Fleet } from './fleet.ts';
import { pick } from './pick.ts';
import { fleetOf, idOf, need, never, only, record, refusal, reserve, wishing, workerOf } from './pick-testing.ts';
import { anyPolicy } from './policy.ts';

function eject(fleet: Fleet, id: string): void {
  for (let faults = 0; faults < 5; faults += 1) fleet.blame(workerOf(fleet, id), fault('http_error', 'HTTP 500'));
}

test('the constraint that left nobody is named', () => {
  const { fleet } = fleetOf([record('a'), record('b', { country: 'DE' })]);
  expect(refusal(fleet, { model: 'other' })).toMatchObject({ code: 'no_worker', constraint: 'model' });
  expect(refusal(fleet, wishing({ operators: only('op_x') }))).toMatchObject({ constraint: 'operator' });
  expect(refusal(fleet, wishing({ workers: never('a', 'b') }))).toMatchObject({ constraint: 'worker' });
  expect(refusal(fleet, wishing({ countries: only('FR') }))).toMatchObject({
    code: 'region_unavailable',
    constraint: 'country',
  });
  expect(refusal(fleet, { exclude: new Set(['a', 'b']) })).toMatchObject({ code: 'no_worker', constraint: 'tried' });
});

test.each(['verifying', 'quarantined', 'draining'] as const)('a worker that is %s gets no call', (state) => {
  const { fleet } = fleetOf([record('a', { state })]);
  expect(refusal(fleet)).toMatchObject({ code: 'no_worker', constraint: 'state' });
});

test('R10 no call ever leaves its allowed countries and operators, whatever was tried before', () => {
  const worker = fc.record({ country: fc.constantFrom('NO', 'DE', 'US'), operator: fc.constantFrom('op_1', 'op_2') });
  fc.assert(
    fc.property(
      fc.array(worker, { minLength: 1, maxLength: 8 }),
      fc.uniqueArray(fc.constantFrom('NO', 'DE', 'US')),
      fc.uniqueArray(fc.constantFrom('op_1', 'op_2')),
      fc.uniqueArray(fc.nat(7)),
      (workers, countries, operators, tried) => {
        const { fleet } = fleetOf(workers.map((one, index) => record(`w${index}`, one)));
        const exclude = new Set(tried.map((index) => `w${index}`));
        const policy = { ...anyPolicy, countries: only(...countries), operators: only(...operators) };
        const asked = { ...need, policy, exclude };
        const picked = pick(fleet, asked);
        if (picked.kind === 'refusal') return;
        const { country, operator, id } = picked.reservation.worker.record;
        expect(countries).toContain(country);
        expect(operators).toContain(operator);
        expect(exclude).not.toContain(id);
      },
    ),
  );
});

test('a worker too short for the call is passed over, but a bound that fits nobody goes to the longest', () => {
  const { fleet } = fleetOf([
    record('short', { models: [{ id: 'tiny', contextLength: 1024 }] }),
    record('long', { models: [{ id: 'tiny', contextLength: 4096 }] }),
  ]);
  expect(idOf(reserve(fleet, { tokensMax: 2000 }))).toBe('long');
  expect(idOf(reserve(fleet, { tokensMax: 9000 }))).toBe('long');
});

test('R5, I5, I18 a hundred arrivals of one turn are spread over equal workers, by nothing but own counts', () => {
  const { fleet } = fleetOf(Array.from({ length: 10 }, (_, index) => record(`w${index}`, { slots: 32 })));
  for (let arrival = 0; arrival < 100; arrival += 1) reserve(fleet);
  expect(Math.max(...fleet.all().map(({ inFlight }) => inFlight))).toBeLessThanOrEqual(13);
});

test('R5 a hundred arrivals of one turn are spread over unequal workers by the speed that each has shown', () => {
  const { fleet } = fleetOf(Array.from({ length: 8 }, (_, index) => record(`w${index}`, { slots: 64 })));
  const speeds = fleet.all().map((_, index) => (index < 4 ? 1 : 2));
  for (const [index, { times }] of fleet.all().entries())
    for (let call = 0; call < 100; call += 1)
      times.of('tiny').prefill.learn(500 * (1 + (call % 8)), (500 * (1 + (call % 8))) / (12 * (speeds[index] ?? 1)), 0);
  for (let arrival = 0; arrival < 100; arrival += 1)
    reserve(fleet, { promptTokens: 1_000, policy: { ...anyPolicy, sort: 'ttft' } });
  for (const [index, { inFlight }] of fleet.all().entries())
    expect(inFlight).toBeLessThanOrEqual((1.3 * 100 * (speeds[index] ?? 1)) / 12);
});

test('R6, I10 after any mix of reserving and releasing, released twice or not, every count is exactly 0', () => {
  fc.assert(
    fc.property(fc.array(fc.record({ sequences: fc.integer({ min: 1, max: 4 }), twice: fc.boolean() })), (calls) => {
      const { fleet } = fleetOf([record('a'), record('b')]);
      const held = calls.flatMap(({ sequences, twice }) => {
        const picked = pick(fleet, { ...need, sequences });
        return picked.kind === 'refusal' ? [] : [{ picked: picked.reservation, twice }];
      });
      for (const { picked, twice } of held) {
        picked.release(0);
        if (twice) picked.release(0);
      }
      const counts = fleet.all().map(({ inFlight, waiting, waitingTokens }) => [inFlight, waiting, waitingTokens]);
      expect(counts).toEqual([
        [0, 0, 0],
        [0, 0, 0],
      ]);
    }),
  );
});

test('a worker that fails fast does not look fast', () => {
  const { fleet } = fleetOf([record('good'), record('bad')]);
  const chosen: string[] = [];
  for (let call = 0; call < 400; call += 1) {
    const reservation = reserve(fleet);
    chosen.push(idOf(reservation));
    if (idOf(reservation) === 'bad') {
      reservation.failed(1, 0);
      fleet.blame(reservation.worker, fault('http_error', 'HTTP 500'));
    } else {
      reservation.firstContent(100, 0);
      fleet.good(reservation.worker);
    }
    reservation.release(0);
  }
  expect(chosen.filter((id) => id === 'bad').length).toBeLessThanOrEqual(5);
});

test('I35 what a worker is given is capped: a full pool says so, with a time to ask again; more slots take more', () => {
  const { fleet } = fleetOf([record('a', { slots: 1 })]);
  for (let call = 0; call < 8; call += 1) reserve(fleet);
  expect(refusal(fleet)).toMatchObject({ code: 'overloaded', constraint: 'load', retryAfterMs: expect.any(Number) });
  const { fleet: wide } = fleetOf([record('a', { slots: 2 })]);
  for (let call = 0; call < 16; call += 1) reserve(wide);
  expect(refusal(wide).code).toBe('overloaded');
});

test('a call of many sequences fits an idle worker, however few its slots', () => {
  const { fleet } = fleetOf([record('a', { slots: 1 })]);
  expect(reserve(fleet, { sequences: 16 }).worker.inFlight).toBe(16);
});

test('I1 a worker that said it is full rests for a second and is not blamed', () => {
  const { fleet, clock } = fleetOf([record('a')]);
  for (let times = 0; times < 50; times += 1) fleet.blame(workerOf(fleet, 'a'), fault('load', 'HTTP 503'));
  const { code, retryAfterMs } = refusal(fleet);
  expect(code).toBe('overloaded');
  expect(retryAfterMs).toBeGreaterThanOrEqual(1000);
  expect(retryAfterMs).toBeLessThanOrEqual(1200);
  clock.nowMs += 1000;
  expect(workerOf(fleet, 'a').state(clock.nowMs)).toBe('active');
  expect(idOf(reserve(fleet))).toBe('a');
});

test('an ejected worker is degraded and gets nothing, then one trial, then its share again', () => {
  const { fleet, clock } = fleetOf([record('a'), record('b')]);
  eject(fleet, 'a');
  expect(workerOf(fleet, 'a').state(0)).toBe('degraded');
  for (let call = 0; call < 10; call += 1) expect(idOf(reserve(fleet))).toBe('b');
  const ejected = refusal(fleet, { exclude: new Set(['b']) });
  expect(ejected.constraint).toBe('ejected');
  expect(ejected.retryAfterMs).toBeGreaterThanOrEqual(10_000);
  clock.nowMs = 10_000;
  const trial = reserve(fleet, { exclude: new Set(['b']) });
  expect(refusal(fleet, { exclude: new Set(['b']) }).constraint).toBe('ejected');
  fleet.good(trial.worker);
  trial.release(clock.nowMs);
  expect(workerOf(fleet, 'a').state(clock.nowMs)).toBe('active');
});

test('R9 when more than half of a pool is ejected, breakers are overruled: a bad worker beats none', () => {
  const { fleet } = fleetOf([record('a'), record('b'), record('c')]);
  eject(fleet, 'a');
  eject(fleet, 'b');
  const chosen = new Set(Array.from({ length: 12 }, () => idOf(reserve(fleet))));
  expect([...chosen].sort()).toEqual(['a', 'b', 'c']);
  const { fleet: single } = fleetOf([record('only')]);
  eject(single, 'only');
  expect(idOf(reserve(single))).toBe('only');
});

test('a retry prefers an operator that was not tried, then a worker that was not', () => {
  const { fleet } = fleetOf([record('a', { operator: 'op_1' }), record('b', { operator: 'op_1' }), record('c')]);
  const tried = [{ worker: 'a', operator: 'op_1' }];
  for (let call = 0; call < 5; call += 1) expect(idOf(reserve(fleet, { tried }))).toBe('c');
  expect(idOf(reserve(fleet, { tried, exclude: new Set(['c']) }))).toBe('b');
  expect(idOf(reserve(fleet, { tried, exclude: new Set(['b', 'c']) }))).toBe('a');
});

test('I3 a worker never seen is taken for an average one, not for the best', () => {
  const { fleet } = fleetOf([record('fast'), record('slow'), record('new')]);
  workerOf(fleet, 'fast').times.of('tiny').prefill.learn(10, 50, 0);
  workerOf(fleet, 'slow').times.of('tiny').prefill.learn(10, 5000, 0);
  expect(idOf(reserve(fleet))).toBe('fast');
  expect(idOf(reserve(fleet, { exclude: new Set(['fast']) }))).toBe('new');
});

test('five good answers end the probation, and the change is told', () => {
  const told: string[] = [];
  const fleet = new Fleet({ now: () => 0, random: () => 0, onState: (_, state) => told.push(state) });
  const worker = fleet.upsert(record('a', { state: 'probation' }));
  for (let answers = 0; answers < 4; answers += 1) fleet.good(worker);
  expect(worker.lifecycle).toBe('probation');
  fleet.good(worker);
  fleet.good(worker);
  expect(told).toEqual(['active']);
});

test('a removed worker gets no more calls; those running there still give their places back', () => {
  const { fleet } = fleetOf([record('a')]);
  const running = reserve(fleet);
  fleet.remove('a');
  expect(refusal(fleet).constraint).toBe('model');
  expect(fleet.models()).toEqual([]);
  running.release(0);
  expect(running.worker.inFlight).toBe(0);
});

test('a changed record keeps what was learned; another address is another machine', () => {
  const { fleet } = fleetOf([record('a')]);
  workerOf(fleet, 'a').times.rttMs = 77;
  expect(fleet.upsert(record('a', { slots: 9 })).times.rttMs).toBe(77);
  expect(fleet.upsert(record('a', { url: 'http://elsewhere' })).times.rttMs).toBe(null);
});

test('models are listed with their longest context', () => {
  const { fleet } = fleetOf([record('a'), record('b', { models: [{ id: 'tiny', contextLength: 9000 }] })]);
  expect(fleet.models()).toEqual([{ id: 'tiny', contextLength: 9000, workers: 2 }]);
});
