/** How workers come into service, are watched, and come back, against the simulator. */
import { afterEach, expect, test } from 'vitest';
import { fault } from '../router/fault.ts';
import { Fleet } from '../router/fleet.ts';
import { startProber } from '../router/probe.ts';
import type { ModelKind, Worker, WorkerRecord, WorkerState } from '../router/worker.ts';
import { type Simulator, type SimulatorOptions, startSimulator } from '../workers/simulator/server.ts';
import { answers, engine } from './dispatch-testing.ts';
import { createOutbound } from './outbound-node.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function simulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const started = await startSimulator(options);
  closers.push(() => started.close());
  return started;
}

/** A watched fleet of one worker. `clock.aheadMs` moves its time forward. */
function watch(url: string, more: Partial<WorkerRecord> = {}, kinds: readonly [string, ModelKind][] = []) {
  const { outbound, close } = createOutbound({ allowPrivate: true, connectMs: 1000 });
  const clock = { aheadMs: 0 };
  const told: WorkerState[] = [];
  const fleet = new Fleet({
    now: () => performance.now() + clock.aheadMs,
    random: Math.random,
    onState: (_, state) => told.push(state),
  });
  const worker = fleet.upsert({
    id: 'w',
    operator: 'op',
    url,
    engineKey: null,
    models: [{ id: 'tiny', contextLength: 8192 }],
    country: 'NO',
    region: 'north',
    slots: 4,
    state: 'verifying',
    ...more,
  });
  for (const [model, kind] of kinds) worker.kinds.set(model, kind);
  const stop = startProber({ fleet, outbound, log: { info: () => {} } });
  closers.push(() => {
    stop();
    return close();
  });
  return { fleet, worker, clock, told };
}

const wait = { timeout: 10_000 };
const lifecycle = (worker: Worker, state: WorkerState) => expect.poll(() => worker.lifecycle, wait).toBe(state);

test('a new worker serves after a real one-token answer, and by then its times and its distance are known', async () => {
  const { url } = await simulator({ rttMs: 20 });
  const { worker, told } = watch(url);
  expect(worker.serves).toBe(false);
  await lifecycle(worker, 'probation');
  expect(told).toEqual(['probation']);
  expect(worker.times.firstContentMs).toBeGreaterThan(0);
  expect(worker.times.rttMs).toBeGreaterThan(15);
  expect(worker.inFlight).toBe(0);
});

test('an embedding server is verified by an embedding', async () => {
  const { url } = await simulator({ embeddings: true });
  const { worker } = watch(url);
  await lifecycle(worker, 'probation');
  expect(worker.lastError).toBe(null);
});

test('I8 a server whose health is good but whose calls fail never comes into service', async () => {
  const { url, faults } = await simulator();
  faults.set({ fault: 'fail-fast' });
  expect((await fetch(`${url}/health`)).status).toBe(200);
  const { worker } = watch(url);
  await expect.poll(() => worker.lastError, wait).toMatch(/HTTP 500/);
  expect(worker.lifecycle).toBe('verifying');
  faults.clear();
  await lifecycle(worker, 'probation');
  expect(worker.lastError).toBe(null);
});

test('a wrong key quarantines a worker and says what to do; the right one brings it back', async () => {
  const { url } = await simulator({ apiKey: 'right' });
  const { fleet, worker } = watch(url, { engineKey: 'wrong' });
  await lifecycle(worker, 'quarantined');
  expect(worker.lastError).toMatch(/engine_key/);
  fleet.upsert({ ...worker.record, engineKey: 'right', state: 'quarantined' });
  await lifecycle(worker, 'probation');
});

test('a model that the server does not have is told, and the worker does not serve', async () => {
  const { url } = await simulator({ model: 'other' });
  const { worker } = watch(url);
  await expect.poll(() => worker.lastError, wait).toMatch(/not_found.*under this name/);
  expect(worker.serves).toBe(false);
});

test('an ejected worker is checked when its time is over, and serves again when that goes well', async () => {
  const { url, faults } = await simulator();
  const { fleet, worker, clock } = watch(url, { state: 'active' });
  await expect.poll(() => worker.times.rttMs, wait).not.toBe(null);
  faults.set({ fault: 'fail-fast' });
  for (let faulty = 0; faulty < 5; faulty += 1) fleet.blame(worker, fault('http_error', 'HTTP 500'));
  expect(worker.state(fleet.now())).toBe('degraded');
  clock.aheadMs += 10_001;
  await expect.poll(() => worker.breaker.state(fleet.now()), wait).toBe('open'); // the check failed: out for longer
  faults.clear();
  clock.aheadMs += 20_001;
  await expect.poll(() => worker.state(fleet.now()), wait).toBe('active');
});

test('a worker that is gone is found out without any traffic', async () => {
  const server = await simulator();
  const { fleet, worker, clock } = watch(server.url, { state: 'active' });
  await expect.poll(() => worker.times.rttMs, wait).not.toBe(null);
  await server.close();
  await expect
    .poll(
      () => {
        clock.aheadMs += 6000;
        return worker.state(fleet.now());
      },
      { ...wait, interval: 300 },
    )
    .toBe('degraded');
  expect(worker.lastError).toMatch(/^connect: .*reachable/);
});

test('I21, I33 a serving worker whose models are known is checked only when it was quiet for long', async () => {
  const { url, seen } = await engine(answers(500, {}));
  const { fleet, worker, clock } = watch(url, { state: 'active' }, [['tiny', 'generation']]);
  fleet.good(worker);
  await expect.poll(() => seen.calls, wait).toBeGreaterThan(0); // round trips
  expect(seen.headers.some((headers) => 'x-request-id' in headers)).toBe(false);
  clock.aheadMs += 31_000;
  await expect.poll(() => seen.headers.some((headers) => 'x-request-id' in headers), wait).toBe(true);
});

test('a draining worker is left alone', async () => {
  const { url, seen } = await engine(answers(500, {}));
  watch(url, { state: 'draining' });
  await new Promise((resolve) => setTimeout(resolve, 600));
  expect(seen.calls).toBe(0);
});

test('I34 a worker that takes long for its first answer, as one that compiles does, comes into service all the same', async () => {
  const { url, faults } = await simulator();
  faults.set({ fault: 'stall', count: 1, afterTokens: 0, ms: 2_500 });
  const { worker } = watch(url);
  await lifecycle(worker, 'probation');
  expect(faults.rules).toEqual([]);
  expect(worker.lastError).toBe(null);
});

test('I33 a busy worker is not taken for dead: a check that waits long blames nobody, and good answers make checks unnecessary', async () => {
  const { url, faults } = await simulator();
  const { fleet, worker, clock } = watch(url, { state: 'active' }, [['tiny', 'generation']]);
  fleet.good(worker);
  await expect.poll(() => worker.times.rttMs, wait).not.toBe(null);
  faults.set({ fault: 'stall', count: 1, afterTokens: 0, ms: 1_500 });
  clock.aheadMs += 31_000;
  await expect.poll(() => faults.rules.length, wait).toBe(0);
  expect(worker.inFlight).toBe(1);
  expect(worker.state(fleet.now())).toBe('active');
  await expect.poll(() => worker.inFlight, wait).toBe(0);
  expect(worker.lastError).toBe(null);
});
