/** Which request joins which, and what is kept of answers: over web requests, without a network. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { type Limits, limits } from './config.ts';
import type { Responder } from './exchange.ts';
import { FetchExchange } from './exchange-fetch.ts';
import { Replays } from './replays.ts';

const kilobyte = 'x'.repeat(1_024);

function replays(changes: Partial<Limits> = {}): Replays {
  return new Replays({ ...limits, rejoinMs: 50, ...changes }, () => performance.now());
}

interface Sent {
  /** Where the answer is written; null: the answer of an earlier request is given. */
  readonly answer: Responder | null;
  readonly text: Promise<string>;
  leave(): void;
}

function send(to: Replays, headers: Record<string, string>, body = 'same'): Sent {
  const control = new AbortController();
  const request = new Request('http://gateway/', { method: 'POST', headers, body, signal: control.signal });
  const exchange = new FetchExchange(request, limits);
  const answer = to.join(exchange, { keyId: 'key_1', path: '/v1/chat/completions', body: Buffer.from(body) });
  return { answer, text: exchange.response.then((response) => response.text()), leave: () => control.abort() };
}

const attempt = (to: Replays, retries: number, body?: string) =>
  send(to, { 'x-stainless-retry-count': String(retries) }, body);

function answerWith({ answer }: Sent, text: string): void {
  answer?.head({ status: 200, lines: '' });
  answer?.end(text);
}

function refuse(to: Replays, { answer }: Sent): void {
  if (answer === null) throw new Error('nothing to refuse');
  to.refuse(answer);
  answer.head({ status: 429, lines: '' });
  answer.end('slow down');
}

describe('a stock client that asks again', () => {
  test('is given the answer that it lost, and another one that was asked the same its own', async () => {
    const kept = replays();
    const [one, two] = [attempt(kept, 0), attempt(kept, 0)];
    answerWith(one, 'one');
    answerWith(two, 'two');
    const again = [attempt(kept, 1), attempt(kept, 1)];
    expect((await Promise.all(again.map(({ text }) => text))).toSorted()).toEqual(['one', 'two']);
    expect(attempt(kept, 1).answer).not.toBeNull();
    expect(await attempt(kept, 2).text).toBe('one');
  });

  test('takes the place of the call whose caller left rather than of one that was answered', async () => {
    const kept = replays();
    answerWith(attempt(kept, 0), 'answered');
    const left = attempt(kept, 0);
    left.leave();
    const replaced = left.answer?.askedAgain?.();
    expect(attempt(kept, 1).answer).not.toBeNull();
    expect(await replaced).toBe(true);
  });

  test('is served anew after a refusal, even where another was answered', () => {
    const kept = replays();
    answerWith(attempt(kept, 0), 'answered');
    refuse(kept, attempt(kept, 0));
    expect(attempt(kept, 1).answer).not.toBeNull();
    expect(attempt(kept, 1).answer).toBeNull();
  });

  test('is served anew for a body that was not asked before, or asked for the first time', () => {
    const kept = replays();
    answerWith(attempt(kept, 0), 'answered');
    expect(attempt(kept, 1, 'another').answer).not.toBeNull();
    expect(attempt(kept, 0).answer).not.toBeNull();
  });

  test('too late does not undo the charge of a call that ended when its caller left', async () => {
    const kept = replays();
    const first = attempt(kept, 0);
    first.leave();
    expect(first.answer?.control.signal.aborted).toBe(true);
    expect(await first.answer?.askedAgain?.()).toBe(false);
    expect(attempt(kept, 1).answer).not.toBeNull();
  });

  test('whose stream may have been cut before its head came is served anew, and the first call told so', async () => {
    const kept = replays();
    const first = attempt(kept, 0);
    first.answer?.head({ status: 200, lines: '' });
    first.answer?.write('a few words');
    first.leave();
    expect(first.answer?.control.signal.aborted).toBe(true);
    const again = first.answer?.askedAgain?.();
    expect(attempt(kept, 1).answer).not.toBeNull();
    expect(await again).toBe(true);
  });

  test('not, after a stream was cut: the first call is told so', async () => {
    const kept = replays();
    const first = attempt(kept, 0);
    first.answer?.head({ status: 200, lines: '' });
    first.leave();
    expect(await first.answer?.askedAgain?.()).toBe(false);
    expect(kept.bytes).toBe(0);
  });

  test('cannot have seen nothing of a stream of many bytes: the call ends as soon as its caller leaves', async () => {
    const kept = replays();
    const first = attempt(kept, 0);
    first.answer?.head({ status: 200, lines: '' });
    for (let count = 0; count < 9; count++) first.answer?.write(kilobyte);
    first.leave();
    expect(first.answer?.control.signal.aborted).toBe(true);
    expect(await first.answer?.askedAgain?.()).toBe(false);
    expect(attempt(kept, 1).answer).not.toBeNull();
  });
});

test('requests that say nothing of retries are not kept', () => {
  const kept = replays();
  const sent = send(kept, {});
  expect(sent.answer).toBeInstanceOf(FetchExchange);
  expect(kept.bytes).toBe(0);
});

test('a caller who does not read holds up none of the others', async () => {
  const kept = replays();
  const first = send(kept, { 'idempotency-key': 'slow' });
  first.answer?.head({ status: 200, lines: '' });
  const second = send(kept, { 'idempotency-key': 'slow' });
  expect(second.answer).toBeNull();
  const seen = second.text;
  for (let count = 0; count < 5; count++) {
    await sleep(5);
    expect(first.answer?.write(`part ${count} `)).toBe(true);
  }
  first.answer?.end();
  expect(await seen).toBe('part 0 part 1 part 2 part 3 part 4 ');
});

describe('memory', () => {
  const keyed = (to: Replays, key: string) => send(to, { 'idempotency-key': key });

  test('stays within its limit: the oldest answers go first, and those without a key before those with one', () => {
    const kept = replays({ replayBytes: 20 * 1_024 });
    answerWith(keyed(kept, 'old'), kilobyte);
    for (let count = 0; count < 100; count++) {
      answerWith(attempt(kept, 0, `body ${count}`), kilobyte);
      expect(kept.bytes).toBeLessThanOrEqual(20 * 1_024);
    }
    expect(keyed(kept, 'old').answer).toBeNull();
    expect(attempt(kept, 1, 'body 99').answer).toBeNull();
    expect(attempt(kept, 1, 'body 0').answer).not.toBeNull();
    for (let count = 0; count < 100; count++) answerWith(keyed(kept, `new ${count}`), kilobyte);
    expect(keyed(kept, 'old').answer).not.toBeNull();
    expect(kept.bytes).toBeLessThanOrEqual(20 * 1_024);
  });

  test('too small for an answer: its caller gets all of it, its key is taken until the end and free after it', async () => {
    const kept = replays({ replayBytes: 4 * 1_024 });
    const first = keyed(kept, 'long');
    first.answer?.head({ status: 200, lines: '' });
    for (let count = 0; count < 8; count++) first.answer?.write(kilobyte);
    expect(kept.bytes).toBeLessThanOrEqual(4 * 1_024);
    expect(() => keyed(kept, 'long')).toThrow(/still runs/);
    first.answer?.end();
    expect(await first.text).toBe(kilobyte.repeat(8));
    expect(keyed(kept, 'long').answer).not.toBeNull();
  });

  test('too small even for a trace: the request is served as if it were the only one', () => {
    const kept = replays({ replayBytes: 0 });
    expect(keyed(kept, 'one').answer).toBeInstanceOf(FetchExchange);
    expect(attempt(kept, 1).answer).toBeInstanceOf(FetchExchange);
  });

  test('is free again when the time of the answers is over', async () => {
    const kept = replays({ replayMs: 100 });
    answerWith(keyed(kept, 'one'), kilobyte);
    answerWith(attempt(kept, 0), kilobyte);
    expect(kept.bytes).toBeGreaterThan(4_000);
    await expect.poll(() => kept.bytes).toBe(0);
    await sleep(20);
    expect(keyed(kept, 'one').answer).not.toBeNull();
  });
});
