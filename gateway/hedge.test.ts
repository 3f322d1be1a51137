import { expect, test } from 'vitest';
import type { Router } from '../router/dispatch.ts';
import { HedgeBudget } from '../router/hedge.ts';
import { only } from '../router/pick-testing.ts';
import { anyPolicy } from '../router/policy.ts';
import {
  done,
  engine,
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
  word,
} from './dispatch-testing.ts';

/** A hundred calls before, so that the budget has something; and a first worker whose times are known, so that late has a meaning. */
function hedging(urls: readonly string[]): Router {
  const router = { ...routerOf(urls), hedges: new HedgeBudget() };
  for (let call = 0; call < 100; call += 1) router.hedges.earn(1_000);
  return router;
}

const late = () => engine((response) => head(response).write(role));

test('without the wish of the host nobody is asked twice, however late the first is', async () => {
  const { url } = await late();
  const { url: other, seen } = await engine(good);
  const router = routerOf([url, other]);
  const answer = await send(router, { limits: { ...limits, firstContentMs: 400 } });
  expect(answer).toMatchObject({ attempt: { number: 2, earlier: [{ reason: 'first_content_timeout' }] } });
  await readAll(answer);
  expect(seen.calls).toBe(1);
});

test('a late worker is hung up on when another one asked beside it is sooner: no fault, one answer, every count 0', async () => {
  const { url, seen } = await late();
  const { url: other } = await engine(good);
  const router = hedging([url, other]);
  const answer = await send(router);
  expect(answer).toMatchObject({ attempt: { number: 2, worker: { id: 'w1' }, earlier: [{ reason: 'outrun' }] } });
  expect((await readAll(answer)).text).toContain('Hi');
  await expect.poll(() => seen.closed).toBe(1);
  expect(router.fleet.get('w0')?.lastError).toBe(null);
  expect(inFlight(router)).toEqual([0, 0]);
});

test('the first worker may still be the sooner one: then the other is hung up on', async () => {
  const { url } = await engine(async (response) => {
    head(response);
    await new Promise((resolve) => setTimeout(resolve, 600));
    response.end(role + word + stop + done);
  });
  const { url: other, seen } = await late();
  const router = hedging([url, other]);
  const answer = await send(router);
  expect(answer).toMatchObject({ attempt: { worker: { id: 'w0' }, earlier: [{ worker: 'w1', reason: 'outrun' }] } });
  expect((await readAll(answer)).outcome.kind).toBe('complete');
  expect(seen.calls).toBe(1);
  await expect.poll(() => seen.closed).toBe(1);
  expect(inFlight(router)).toEqual([0, 0]);
});

test('when the late one fails, the other one’s answer is the call’s; when both fail, a third is asked', async () => {
  const failing = () =>
    engine(async (response) => {
      head(response).write(role);
      await new Promise((resolve) => setTimeout(resolve, 500));
      response.destroy();
    });
  const [first, second, third] = [await failing(), await failing(), await engine(good)];
  const router = hedging([first.url, second.url, third.url]);
  const answer = await send(router);
  expect(answer).toMatchObject({ attempt: { number: 3, worker: { id: 'w2' } } });
  await readAll(answer);
  expect(inFlight(router)).toEqual([0, 0, 0]);
});

test('R10 a second worker beside a late one is of the allowed country, or there is none', async () => {
  const { url } = await late();
  const { url: other, seen } = await engine(good);
  const router = hedging([url, other]);
  const abroad = router.fleet.get('w1');
  if (abroad === undefined) throw new Error('nobody there');
  router.fleet.upsert({ ...abroad.record, country: 'US' });
  const policy = { ...anyPolicy, countries: only('NO') };
  const answer = await send(router, { need: { ...need, policy }, limits: { ...limits, firstContentMs: 600 } });
  expect(answer).toMatchObject({ kind: 'failed', code: 'deadline_exceeded' });
  expect(seen.calls).toBe(0);
  expect(inFlight(router)).toEqual([0, 0]);
});

test('a caller who leaves while two are asked has both hung up on', async () => {
  const [one, other] = [await late(), await late()];
  const router = hedging([one.url, other.url]);
  const control = new AbortController();
  const answer = send(router, { signal: control.signal });
  await expect.poll(() => other.seen.calls).toBe(1);
  control.abort();
  expect((await answer).kind).toBe('aborted');
  await expect.poll(() => [one.seen.closed, other.seen.closed]).toEqual([1, 1]);
  expect(inFlight(router)).toEqual([0, 0]);
});

test('at most one call in fifty and one token in twenty are asked for twice', () => {
  const budget = new HedgeBudget();
  let hedged = 0;
  for (let call = 0; call < 5_000; call += 1) {
    budget.earn(call % 2 === 0 ? 100 : 10_000);
    if (!budget.affords(5_000)) continue;
    budget.take(5_000);
    hedged += 1;
  }
  expect(hedged).toBeGreaterThan(90);
  expect(hedged).toBeLessThanOrEqual(100);
  const long = new HedgeBudget();
  let tokens = 0;
  for (let call = 0; call < 5_000; call += 1) {
    long.earn(100);
    if (!long.affords(10_000)) continue;
    long.take(10_000);
    tokens += 10_000;
  }
  expect(tokens / (5_000 * 100)).toBeLessThanOrEqual(0.05);
});
