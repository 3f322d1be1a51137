/** The same named request at two gateways over one Postgres: it runs once. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { RunningGateway } from '../node.ts';
import { startBeside, startTestGateway, type TestGateway } from '../testing.ts';

let first: TestGateway;
let second: RunningGateway;
let stopped: boolean;

beforeEach(async () => {
  stopped = false;
  first = await startTestGateway({ simulators: [{ decodeBaseMs: 20 }], limits: { replayBytes: 64 * 1_024 } });
  second = await startBeside(first);
  const serves = () => second.gateway.router.fleet.all().map(({ serves }) => serves);
  await expect.poll(serves, { timeout: 10_000 }).toEqual([true]);
});

afterEach(async () => {
  if (!stopped) await second.stop(AbortSignal.abort());
  await first.stop();
});

const question = (more: object = {}) => ({
  model: 'tiny',
  messages: [{ role: 'user', content: 'Hello' }],
  max_tokens: 8,
  ...more,
});

interface Answer {
  readonly status: number;
  /** Of an error. */
  readonly code: unknown;
  readonly message: string;
  readonly text: string;
  readonly headers: Headers;
}

async function ask(url: string, key: string, body: unknown, path = '/v1/chat/completions'): Promise<Answer> {
  const response = await first.post(`${url}${path}`, body, { headers: { 'idempotency-key': key } });
  const text = await response.text();
  const error = response.ok ? {} : (JSON.parse(text) as { error: { code: unknown; message: string } }).error;
  return { status: response.status, text, headers: response.headers, code: undefined, message: '', ...error };
}

const charged = () =>
  first.database.sql<{ id: string }[]>`select id from call where charged_nanousd > 0`.then((rows) =>
    rows.map(({ id }) => id),
  );

async function settledCalls(): Promise<string[]> {
  await Promise.all([first.running.gateway, second.gateway].map(({ ledger }) => ledger.settler.drain()));
  return charged();
}

test('twenty times at once at each of two gateways is one call: all others get its answer or are told to wait, then where it is', async () => {
  const urls = Array.from({ length: 40 }, (_, at) => (at % 2 === 0 ? first.url : second.url));
  const answers = await Promise.all(
    urls.map(async (url) => {
      for (;;) {
        const answer = await ask(url, 'forty', question());
        if (answer.code !== 'request_in_progress') return answer;
        expect(Number(answer.headers.get('retry-after-ms'))).toBeGreaterThan(0);
        await sleep(20);
      }
    }),
  );
  const served = answers.filter(({ status }) => status === 200);
  expect(served).toHaveLength(20);
  expect(new Set(served.map(({ text }) => text)).size).toBe(1);
  for (const { status, code } of answers)
    expect([status, code]).toEqual(status === 200 ? [200, undefined] : [409, 'answered_elsewhere']);
  expect(await settledCalls()).toEqual([served[0]?.headers.get('x-faregate-call')]);
});

test('an answer that another gateway has is not made again: 409 says so, names the call, and closes the connection; another body is 422', async () => {
  const one = await ask(first.url, 'there', question());
  const call = String(one.headers.get('x-faregate-call'));
  // That it ended is told after its last byte.
  await expect.poll(async () => (await ask(second.url, 'there', question())).code).toBe('answered_elsewhere');
  const other = await ask(second.url, 'there', question());
  expect(other.status).toBe(409);
  expect(other.message).toContain(call);
  expect(other.headers.get('connection')).toBe('close');
  expect(Number(other.headers.get('retry-after-ms'))).toBeGreaterThan(0);
  expect(await ask(second.url, 'there', question({ max_tokens: 9 }))).toMatchObject({
    status: 422,
    code: 'idempotency_mismatch',
  });
  expect((await ask(first.url, 'there', question())).text).toBe(one.text);
  expect(await settledCalls()).toEqual([call]);
});

test('a call that runs at another gateway is waited for, and another body is 422 meanwhile', async () => {
  const running = ask(first.url, 'runs', question({ max_tokens: 60 }));
  await expect.poll(() => first.running.gateway.openCalls.size).toBe(1);
  expect(await ask(second.url, 'runs', question({ max_tokens: 60 }))).toMatchObject({
    status: 409,
    code: 'request_in_progress',
  });
  expect((await ask(second.url, 'runs', question())).status).toBe(422);
  expect((await running).status).toBe(200);
});

test('what was refused and charged nothing may be sent to another gateway, and is then a call', async () => {
  const simulator = first.simulators[0];
  simulator?.faults.set({ fault: 'status', status: 500, count: 3 });
  expect((await ask(first.url, 'refused', question())).status).toBe(502);
  simulator?.faults.clear();
  // That the name is free is told after the answer.
  await expect.poll(async () => (await ask(second.url, 'refused', question())).status).toBe(200);
  expect(await settledCalls()).toHaveLength(1);
});

test('an ordinary route does once what it is asked at two gateways', async () => {
  const asked = [first.url, second.url, first.url, second.url];
  const answers = await Promise.all(asked.map((url) => ask(url, 'a key', { name: 'helper' }, '/v1/keys')));
  expect(answers.filter(({ status }) => status !== 200 && status !== 409)).toEqual([]);
  expect(answers.some(({ status }) => status === 200)).toBe(true);
  const rows = await first.database.sql`select id from api_key where name = 'helper'`;
  expect(rows).toHaveLength(1);
});

test('the names of a gateway that stopped stay taken, its answers are lost, and the caller is told not to wait', async () => {
  expect((await ask(second.url, 'stopped', question())).status).toBe(200);
  stopped = true;
  await second.stop();
  const answer = await ask(first.url, 'stopped', question());
  expect(answer).toMatchObject({ status: 409, code: 'answer_lost' });
  expect(answer.headers.get('x-should-retry')).toBe('false');
  expect(await charged()).toHaveLength(1);
});

test('an answer too long for the memory is lost, and its call is not run again for that', async () => {
  // 64 KiB: some 250 tokens of a stream.
  const long = question({ max_tokens: 600, min_tokens: 600, stream: true });
  const one = await ask(first.url, 'long', long);
  expect(one.text.length).toBeGreaterThan(64 * 1_024);
  await expect.poll(async () => (await ask(first.url, 'long', long)).code, { timeout: 5_000 }).toBe('answer_lost');
  expect(await settledCalls()).toHaveLength(1);
}, 60_000);

test('a name is free again when its time is over, and old ones are forgotten', async () => {
  await ask(first.url, 'old', question());
  const claims = () => first.database.sql`select state from idempotency_claim`;
  await expect.poll(claims).toEqual([{ state: 'ended' }]);
  await first.database.sql`update idempotency_claim set expires_at = now()`;
  expect((await ask(second.url, 'old', question())).status).toBe(200);
  expect(await settledCalls()).toHaveLength(2);
});

test('a call without a name, a retry of a stock client too, leaves no trace of one in the database', async () => {
  for (const headers of [{}, { 'x-stainless-retry-count': '0' }, { 'x-stainless-retry-count': '1' }]) {
    await (await first.post('/v1/chat/completions', question(), { headers })).text();
  }
  const [counted] = await first.database.sql`
    select (n_tup_ins + n_tup_upd + n_tup_del)::int as changes from pg_stat_user_tables where relname = 'idempotency_claim'`;
  expect(counted?.changes).toBe(0);
});
