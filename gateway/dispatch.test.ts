/** Judging and retrying before the first content, over real sockets. */
import type { ServerResponse } from 'node:http';
import { expect, test } from 'vitest';
import { anyPolicy } from '../router/policy.ts';
import { seededRandom } from '../workers/simulator/random.ts';
import {
  answers,
  type Behaviour,
  chunk,
  done,
  engine,
  errorEvent,
  good,
  head,
  inFlight,
  limits,
  need,
  readAll,
  role,
  routerOf,
  send,
  stop,
  streams,
  whole,
  word,
} from './dispatch-testing.ts';

test('I31 nothing is committed by a head, a comment or the role: only content commits', async () => {
  const { url } = await engine((response) => {
    head(response).write(`: keep-alive\n\n${role}`);
    setTimeout(() => response.end(errorEvent(500) + done), 50);
  });
  const { url: second } = await engine(good);
  const answer = await send(routerOf([url, second]));
  expect(answer).toMatchObject({ kind: 'stream', attempt: { number: 2, earlier: [{ reason: 'error_event' }] } });
  expect((await readAll(answer)).text).toBe(role + word + stop + done);
});

const failures: [string, string, Behaviour][] = [
  ['a reset before the head', 'reset', (response) => response.destroy()],
  ['a reset after the head', 'cut_off', (response) => head(response).write(role, () => response.destroy())],
  ['status 500', 'http_error', answers(500, { error: { message: 'dead', code: 500 } })],
  ['status 503 as a string', 'load', answers(503, { error: 'scaling' })],
  ['status 429', 'load', answers(429, {})],
  ['status 404', 'not_found', answers(404, { detail: 'Not Found' })],
  ['status 401 as a string', 'credentials', answers(401, { error: 'Unauthorized' })],
  ['a redirect', 'http_error', (response) => response.writeHead(307, { location: '/' }).end()],
  ['an empty 200', 'cut_off', streams()],
  ['an empty 204', 'http_error', (response) => response.writeHead(204).end()],
  ['a whole answer to a stream', 'malformed', answers(200, whole)],
  ['an error event first, of a dead engine', 'error_event', streams(errorEvent(500), done)],
  ['an error event first, of a full queue', 'load', streams(errorEvent(503), done)],
  ['an aborted generation', 'abort_finish', streams(role, chunk({ delta: {}, finish_reason: 'abort' }), done)],
  ['a bare [DONE]', 'no_finish', streams(done)],
  ['the role, then [DONE]', 'no_finish', streams(role, done)],
  ['an end of file with no [DONE]', 'cut_off', streams(role, stop)],
  ['an answer of another model', 'other_model', streams(word.replace('tiny', 'huge'))],
  ['no JSON', 'malformed', streams('data: oops\n\n')],
];

test.each(failures)(
  '%s moves a stream to another worker, and the caller sees only a good answer',
  async (_, reason, behave) => {
    const { url, seen } = await engine(behave);
    const { url: second } = await engine(good);
    const router = routerOf([url, second]);
    const answer = await send(router);
    expect(answer).toMatchObject({ kind: 'stream', attempt: { number: 2, worker: { id: 'w1' } } });
    expect(answer.kind === 'stream' && answer.attempt.earlier.map((attempt) => attempt.reason)).toEqual([reason]);
    expect((await readAll(answer)).outcome.kind).toBe('complete');
    expect(seen.calls).toBe(1);
    expect(inFlight(router)).toEqual([0, 0]);
  },
);

test.each([
  ['status 500', 'http_error', answers(500, {})],
  ['a reset', 'reset', (response: ServerResponse) => response.destroy()],
  [
    'an answer that breaks',
    'cut_off',
    (response: ServerResponse) =>
      response.writeHead(200, { 'content-length': 99 }).write('{', () => response.destroy()),
  ],
  ['an aborted generation', 'abort_finish', answers(200, { ...whole, choices: [{ finish_reason: 'abort' }] })],
  ['an answer without usage', 'malformed', answers(200, { ...whole, usage: undefined })],
] as [string, string, Behaviour][])('%s moves a whole call to another worker', async (_, reason, behave) => {
  const { url } = await engine(behave);
  const { url: second } = await engine(answers(200, whole));
  const router = routerOf([url, second]);
  const answer = await send(router, { stream: false });
  expect(answer).toMatchObject({ kind: 'whole', answer: whole, attempt: { number: 2, earlier: [{ reason }] } });
  expect(answer.kind === 'whole' && answer.text).toBe(JSON.stringify(whole));
  expect(inFlight(router)).toEqual([0, 0]);
});

test('a worker that is gone is passed over', async () => {
  const { url: second } = await engine(good);
  const answer = await send(routerOf(['http://127.0.0.1:9', second]));
  expect(answer).toMatchObject({ kind: 'stream', attempt: { number: 2, earlier: [{ reason: 'connect' }] } });
  await readAll(answer);
});

test('a silent worker is left at the limit of first content, and its call closed', async () => {
  const { url, seen } = await engine((response) => head(response).write(role));
  const { url: second } = await engine(good);
  const router = routerOf([url, second]);
  const answer = await send(router, { limits: { ...limits, firstContentMs: 100 } });
  expect(answer).toMatchObject({ kind: 'stream', attempt: { earlier: [{ reason: 'first_content_timeout' }] } });
  await readAll(answer);
  await expect.poll(() => seen.closed).toBe(1);
});

test('R9, I2 a request that is wrong goes back to its caller, once, and a burst of them ejects nobody', async () => {
  const error = { message: 'temperature must be in [0, 2]', type: 'BadRequestError', param: 'temperature', code: 400 };
  const { url, seen } = await engine(answers(400, { error }));
  const unaudited = () => 0.5;
  const router = routerOf([url, url], {}, unaudited);
  for (let call = 0; call < 20; call += 1) {
    expect(await send(router)).toMatchObject({ kind: 'refused', status: 400, error, attempt: { number: 1 } });
  }
  expect(seen.calls).toBe(20);
  expect(router.fleet.all().map((worker) => worker.state(performance.now()))).toEqual(['active', 'active']);
  expect(inFlight(router)).toEqual([0, 0]);
});

test('when all that might were asked, the answer says what they had in common', async () => {
  const codes: [Behaviour, string, number | null][] = [
    [answers(500, {}), 'worker_failed', expect.any(Number)],
    [answers(503, {}), 'overloaded', expect.any(Number)],
    [(response) => head(response).write(role), 'deadline_exceeded', null],
  ];
  for (const [behave, code, retryAfterMs] of codes) {
    const { url } = await engine(behave);
    const answer = await send(routerOf([url, url, url, url]), { limits: { ...limits, firstContentMs: 100 } });
    expect(answer).toMatchObject({ kind: 'failed', code, constraint: null, retryAfterMs });
    expect(answer.kind === 'failed' && answer.attempts).toHaveLength(3);
  }
});

test('when all workers are full a call waits for room and gets it; where none is in sight it is refused at once', async () => {
  let letGo: () => void = () => {};
  const until = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const { url } = await engine(async (response, request) => {
    await until;
    good(response, request);
  });
  const router = routerOf([url], { slots: 1 });
  const running = Array.from({ length: 8 }, () => send(router));
  await expect.poll(() => inFlight(router)).toEqual([8]);
  const tight = { ...limits, queueMs: 50 };
  expect(await send(router, { limits: tight })).toMatchObject({ code: 'overloaded', retryAfterMs: expect.any(Number) });
  const waiting = send(router, { limits: { ...limits, queueMs: 5_000 } });
  await expect.poll(() => router.fleet.room.waiting('tiny')).toBe(1);
  letGo();
  for (const one of [...running, waiting]) await readAll(await one);
  expect(inFlight(router)).toEqual([0]);
  expect(router.fleet.room.waiting('tiny')).toBe(0);
});

test('where nobody is eligible nobody is tried, and the constraint is named', async () => {
  const { url, seen } = await engine(good);
  const answer = await send(routerOf([url]), {
    need: { ...need, policy: { ...anyPolicy, countries: { only: new Set(['FR']), never: new Set() } } },
  });
  expect(answer).toMatchObject({ kind: 'failed', code: 'region_unavailable', constraint: 'country', attempts: [] });
  expect(seen.calls).toBe(0);
});

test('a kept connection that died of old age costs the only worker nothing: it is asked again', async () => {
  let calls = 0;
  const { url } = await engine((response, request) => {
    calls += 1;
    if (calls === 2) response.destroy();
    else good(response, request);
  });
  const router = routerOf([url]);
  await readAll(await send(router));
  const answer = await send(router);
  expect(answer).toMatchObject({ kind: 'stream', attempt: { number: 2, earlier: [{ reason: 'reset' }] } });
  await readAll(answer);
});

test('five failures eject a worker and a good answer at its return takes it back; a refused key quarantines it', async () => {
  const { url } = await engine(answers(500, { error: 'dead at http://10.0.0.1:8000/x' }));
  const { url: second } = await engine(good);
  const router = routerOf([url, second]);
  for (let call = 0; call < 12; call += 1) {
    const other = router.fleet.get('w1');
    if (other !== undefined) other.times.rttMs = 1e9; // keep the bad one attractive
    await readAll(await send(router));
  }
  const worker = router.fleet.get('w0');
  expect(worker?.state(performance.now())).toBe('degraded');
  expect(worker?.lastError).toMatch(/HTTP 500: dead at <url>/);
  const { url: locked } = await engine(answers(401, { error: 'Unauthorized' }));
  const other = routerOf([locked, second]);
  await readAll(await send(other));
  expect(other.fleet.get('w0')?.lifecycle).toBe('quarantined');
  expect(other.fleet.get('w0')?.lastError).toMatch(/engine_key/);
});

test.each(['/v1/chat/completions', '/v1/completions', '/v1/embeddings'])(
  'I4 a call of %s is counted from before it is sent until its end, streamed or whole',
  async (path) => {
    const { url, seen } = await engine(() => {});
    const router = routerOf([url]);
    for (const stream of [true, false]) {
      const control = new AbortController();
      const before = seen.calls;
      const answer = send(router, { path, stream, signal: control.signal });
      expect(inFlight(router)).toEqual([1]);
      await expect.poll(() => seen.calls).toBe(before + 1);
      expect(inFlight(router)).toEqual([1]);
      control.abort();
      expect((await answer).kind).toBe('aborted');
      expect(inFlight(router)).toEqual([0]);
    }
  },
);

test('R7 what a worker says about its own speed changes no prediction: one that reports zeros is sent no more than its twin', async () => {
  const boast = { metrics: { time_to_first_token: 0, inter_token_latency: 0, queue_time: 0, tokens_per_second: 1e9 } };
  // The router's clock: both take 20 ms by it, however busy this machine is.
  let nowMs = 0;
  const answer =
    (more: object): Behaviour =>
    (response) => {
      response.writeHead(200, {
        'content-type': 'text/event-stream',
        'endpoint-load-metrics': 'JSON {"named_metrics":{"num_requests_waiting":0}}',
      });
      nowMs += 20;
      const last = chunk({ delta: {}, finish_reason: 'stop' }, more);
      response.end(role + word + last + done);
    };
  const [liar, twin] = [await engine(answer(boast)), await engine(answer({}))];
  const router = routerOf([liar.url, twin.url], {}, seededRandom(7), () => nowMs);
  for (const worker of router.fleet.all()) worker.times.rttMs = 10;
  for (let call = 0; call < 60; call += 1) await readAll(await send(router));
  // By chance alone, of two alike: within four deviations. A speed believed would draw them all.
  expect(liar.seen.calls).toBeLessThan(46);
  expect(twin.seen.calls).toBeLessThan(46);
  const shown = router.fleet.all().map((worker) => worker.times.of('tiny').prefill.at(10));
  for (const ms of shown) expect(ms).toBeGreaterThan(10);
});

test('a worker is told how long it has, and a retry what is left of that', async () => {
  const { url, seen } = await engine(answers(500, {}));
  const { url: second, seen: seenSecond } = await engine(good);
  const router = routerOf([url, second]);
  await readAll(await send(router, { deadlineAtMs: performance.now() + 5_000 }));
  const [first, left] = [seen, seenSecond].map(({ headers }) => Number(headers[0]?.['x-request-timeout-ms']));
  expect(first).toBeLessThanOrEqual(5_000);
  expect(left).toBeLessThanOrEqual(first ?? 0);
  expect(left).toBeGreaterThan(0);
});

test('a model that a worker does not have is not asked of it again, and nobody is ejected for it', async () => {
  const { url, seen } = await engine(answers(404, { error: { message: 'no such model', code: 404 } }));
  const { url: second } = await engine(good);
  const router = routerOf([url, second]);
  for (let call = 0; call < 8; call += 1) await readAll(await send(router));
  expect(seen.calls).toBe(1);
  expect(router.fleet.get('w0')?.state(performance.now())).toBe('active');
});
