/** Streams that are committed, and callers that leave, over real sockets. */
import type { ServerResponse } from 'node:http';
import { expect, test } from 'vitest';
import {
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
  word,
} from './dispatch-testing.ts';

test('a stream comes byte for byte, and its times are in order', async () => {
  const text = `: keep-alive\n\n${role}${chunk({ delta: { content: 'Grüße 👋' } }).replaceAll('\n', '\r\n')}${word}${stop}${done}`;
  const bytes = Buffer.from(text);
  const { url, seen } = await engine(async (response) => {
    head(response);
    for (let at = 0; at < bytes.length; at += 7) {
      response.write(bytes.subarray(at, at + 7));
      await new Promise(setImmediate);
    }
    response.end();
  });
  const router = routerOf([url], { engineKey: 'k' });
  const answer = await send(router);
  const { text: relayed, outcome } = await readAll(answer);
  expect(relayed).toBe(text);
  expect(outcome).toEqual({ kind: 'complete' });
  if (answer.kind !== 'stream') throw new Error('not a stream');
  const { dispatchedAt, firstContentAt, lastByteAt } = answer.attempt.times;
  expect(dispatchedAt).toBeLessThanOrEqual(firstContentAt ?? Number.NaN);
  expect(firstContentAt).toBeLessThanOrEqual(lastByteAt ?? Number.NaN);
  expect(seen.headers[0]).toMatchObject({ 'x-request-id': 'call-1', authorization: 'Bearer k' });
  expect(inFlight(router)).toEqual([0]);
});

test('I32 after the first content nothing is tried again, and the break is told', async () => {
  const { url } = await engine(async (response) => {
    head(response).write(role + word);
    await new Promise((resolve) => setTimeout(resolve, 50));
    response.end(word + errorEvent(500) + done);
  });
  const { url: second, seen } = await engine(good);
  const router = routerOf([url, second]);
  const { text, outcome } = await readAll(await send(router));
  expect(text).toBe(role + word + word);
  expect(outcome).toMatchObject({ kind: 'broken', fault: { reason: 'error_event' } });
  expect(seen.calls).toBe(0);
  expect(inFlight(router)).toEqual([0, 0]);
});

test.each([
  ['silence', 'idle_timeout', () => {}],
  ['a reset', 'cut_off', (response: ServerResponse) => response.destroy()],
  ['an end of file', 'cut_off', (response: ServerResponse) => response.end()],
  ['[DONE] without a finish', 'no_finish', (response: ServerResponse) => response.end(done)],
] as [string, string, Behaviour][])('%s in mid-stream breaks it', async (_, reason, then) => {
  const { url } = await engine((response, request) => {
    head(response).write(word);
    setTimeout(() => then(response, request), 30);
  });
  const { outcome } = await readAll(await send(routerOf([url]), { limits: { ...limits, idleMs: 200 } }));
  expect(outcome).toMatchObject({ kind: 'broken', fault: { reason } });
});

test('a proper stream without any content is an answer', async () => {
  const { url } = await engine(streams(role, stop, done));
  const answer = await send(routerOf([url]));
  expect(answer).toMatchObject({ kind: 'stream', attempt: { number: 1, times: { firstContentAt: null } } });
  expect(await readAll(answer)).toEqual({ text: role + stop + done, outcome: { kind: 'complete' } });
});

test('I11 the caller leaving closes the upstream connection, in every phase', async () => {
  const phases: Behaviour[] = [
    () => {},
    (response) => head(response).write(role),
    (response) => head(response).write(word),
  ];
  for (const stream of [true, false]) {
    for (const behave of phases) {
      const { url, seen } = await engine(behave);
      const router = routerOf([url]);
      const caller = new AbortController();
      const sent = send(router, { stream, signal: caller.signal });
      await expect.poll(() => seen.calls).toBe(1);
      setTimeout(() => caller.abort(new Error('left')), 30);
      const answer = await sent;
      if (answer.kind === 'stream') expect((await readAll(answer)).outcome).toMatchObject({ kind: 'aborted' });
      else expect(answer).toMatchObject({ kind: 'aborted', dispatched: true, attempt: { number: 1 }, attempts: [] });
      await expect.poll(() => seen.closed).toBe(1);
      expect(inFlight(router)).toEqual([0]);
      expect(router.fleet.all()[0]?.lastError).toBe(null);
    }
  }
});

test('a caller who left before is not dispatched', async () => {
  const { url, seen } = await engine(good);
  const answer = await send(routerOf([url]), { signal: AbortSignal.abort() });
  expect(answer).toEqual({ kind: 'aborted', attempts: [], dispatched: false, attempt: null });
  expect(seen.calls).toBe(0);
});

test('the relay may close a stream', async () => {
  const { url, seen } = await engine((response) => head(response).write(word));
  const answer = await send(routerOf([url]));
  const ended = readAll(answer);
  if (answer.kind === 'stream') answer.rest.abort(new Error('enough'));
  expect((await ended).outcome).toMatchObject({ kind: 'aborted', reason: { message: 'enough' } });
  await expect.poll(() => seen.closed).toBe(1);
});

test('a paused stream waits without limit and loses nothing', async () => {
  const many = Array.from({ length: 2000 }, (_, index) =>
    chunk({ delta: { content: `word ${index} ${'x'.repeat(500)}` } }),
  );
  const { url } = await engine((response) => {
    head(response).write(word);
    setTimeout(() => response.end(many.join('') + stop + done), 20);
  });
  const answer = await send(routerOf([url]), { limits: { ...limits, idleMs: 100 } });
  if (answer.kind !== 'stream') throw new Error('not a stream');
  const ended = readAll(answer);
  answer.rest.pause();
  await new Promise((resolve) => setTimeout(resolve, 300));
  answer.rest.resume();
  const { text, outcome } = await ended;
  expect(outcome.kind).toBe('complete');
  expect(text).toBe(word + many.join('') + stop + done);
});

test('n choices must all finish, and take n places', async () => {
  const { url } = await engine((response) => {
    head(response).write(role + word);
    setTimeout(() => response.end(stop + chunk({ index: 1, delta: {}, finish_reason: 'length' }) + done), 50);
  });
  const router = routerOf([url]);
  const answer = await send(router, { need: { ...need, sequences: 2 } });
  expect(inFlight(router)).toEqual([2]);
  expect((await readAll(answer)).outcome.kind).toBe('complete');
  expect(inFlight(router)).toEqual([0]);
});

test('a worker that keeps the connection after [DONE] is hung up on, after its answer was complete', async () => {
  const { url, seen } = await engine((response) => head(response).write(role + word + stop + done));
  const { outcome } = await readAll(await send(routerOf([url])));
  expect(outcome.kind).toBe('complete');
  await expect.poll(() => seen.closed, { timeout: 5000 }).toBe(1);
});
