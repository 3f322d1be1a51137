/** When another worker is asked, how soon, how often, and what is concluded: over real sockets. */
import { expect, test, vi } from 'vitest';
import { seededRandom } from '../workers/simulator/random.ts';
import {
  answers,
  type Behaviour,
  engine,
  good,
  inFlight,
  limits,
  need,
  readAll,
  routerOf,
  send,
} from './dispatch-testing.ts';

const error = { message: 'temperature must be in [0, 2]', type: 'BadRequestError', param: 'temperature', code: 400 };
const refuses = answers(400, { error });
const fails = answers(500, {});
const dead = 'http://127.0.0.1:9';

async function urlsOf(...behaviours: Behaviour[]) {
  const engines = await Promise.all(behaviours.map(engine));
  return { urls: engines.map(({ url }) => url), seen: engines.map((one) => one.seen) };
}

test('I12 the first retry waits for nothing: no timer stands between a failure and the next worker', async () => {
  const { urls } = await urlsOf(fails, good);
  const router = routerOf(urls);
  // An immediate is none: it waits for what this turn of the event loop has read already.
  vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval'] });
  try {
    const answer = await send(router);
    expect(answer).toMatchObject({ kind: 'stream', attempt: { number: 2, earlier: [{ reason: 'http_error' }] } });
    await readAll(answer);
  } finally {
    vi.useRealTimers();
  }
});

test('I12 retries are few: three attempts, however many workers there are', async () => {
  const { urls, seen } = await urlsOf(fails, fails, fails, fails, good);
  expect(await send(routerOf(urls))).toMatchObject({ kind: 'failed', code: 'worker_failed' });
  expect(seen.reduce((sum, { calls }) => sum + calls, 0)).toBe(limits.attempts);
});

test('I12 retries are budgeted: where too many calls failed lately, a failure is final', async () => {
  const { urls, seen } = await urlsOf(fails, good);
  const router = routerOf(urls);
  while (router.retries.take('tiny', router.fleet.now()));
  expect(await send(router)).toMatchObject({ kind: 'failed', code: 'worker_failed', attempts: [{ number: 1 }] });
  expect(seen.map(({ calls }) => calls)).toEqual([1, 0]);
});

test('R9 where all workers fail they are asked all the same, callers are told when to come back, and the first sound one serves', async () => {
  let sound = false;
  const behave: Behaviour = (response, request) => (sound ? good : fails)(response, request);
  const { urls, seen } = await urlsOf(behave, behave);
  const router = routerOf(urls);
  for (let call = 0; call < 20; call += 1) {
    const answer = await send(router);
    expect(answer).toMatchObject({ kind: 'failed', code: 'worker_failed', retryAfterMs: expect.any(Number) });
    expect(answer.kind === 'failed' && answer.attempts.length).toBeGreaterThan(0);
  }
  expect(router.fleet.all().map((worker) => worker.state(router.fleet.now()))).toEqual(['degraded', 'degraded']);
  expect(seen.reduce((sum, { calls }) => sum + calls, 0)).toBeGreaterThanOrEqual(20);
  sound = true;
  expect((await readAll(await send(router))).outcome.kind).toBe('complete');
});

test('a worker that refuses what others serve is found out by a few audits, and ejected', async () => {
  const { urls, seen } = await urlsOf(refuses, good);
  const router = routerOf(urls, {}, seededRandom(1));
  const liar = router.fleet.get('w0');
  const far = router.fleet.get('w1');
  let refused = 0;
  let audited = 0;
  while (liar?.state(router.fleet.now()) === 'active' && refused < 2_000) {
    if (far !== undefined) far.times.rttMs = 1e9; // keep the liar attractive
    const answer = await send(router);
    if (answer.kind === 'refused') refused += 1;
    else {
      expect(answer).toMatchObject({ kind: 'stream', attempt: { number: 2, earlier: [{ reason: 'false_refusal' }] } });
      await readAll(answer);
      audited += 1;
    }
  }
  expect(liar?.state(router.fleet.now())).toBe('degraded');
  expect(liar?.lastError).toMatch(/^false_refusal: /);
  expect(audited).toBe(5);
  expect(seen[1]?.calls).toBe(audited);
  expect(inFlight(router)).toEqual([0, 0]);
});

test('of true refusals one in a hundred is asked of another worker, and nobody is blamed for any', async () => {
  const { urls, seen } = await urlsOf(refuses, refuses);
  const router = routerOf(urls, {}, seededRandom(2));
  for (let call = 0; call < 1_000; call += 1) {
    expect(await send(router)).toMatchObject({ kind: 'refused', error, attempt: { number: 1, worker: { id: 'w0' } } });
  }
  expect(seen[1]?.calls).toBeGreaterThan(0);
  expect(seen[1]?.calls).toBeLessThan(30);
  expect(router.fleet.all().map((worker) => worker.state(router.fleet.now()))).toEqual(['active', 'active']);
  expect(router.fleet.all().map(({ lastError }) => lastError)).toEqual([null, null]);
});

test('an audit leaves the country of the call as little as the call itself, and a failing auditor proves nothing', async () => {
  const always = () => 0;
  const { urls, seen } = await urlsOf(refuses, good);
  const router = routerOf([...urls, dead], {}, always);
  router.fleet.upsert({ ...recordOf(router, 'w1'), country: 'US' });
  const policy = { ...need.policy, countries: { only: new Set(['NO']), never: new Set<string>() } };
  expect(await send(router, { need: { ...need, policy } })).toMatchObject({ kind: 'refused', attempt: { number: 1 } });
  expect(seen.map(({ calls }) => calls)).toEqual([1, 0]);
  expect(router.fleet.get('w0')?.lastError).toBeNull();
  expect(router.fleet.get('w2')?.lastError).toMatch(/^connect/);
});

function recordOf(router: ReturnType<typeof routerOf>, id: string) {
  const worker = router.fleet.get(id);
  if (worker === undefined) throw new Error(`no ${id}`);
  return worker.record;
}
