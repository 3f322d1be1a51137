/** Connections as callers use them, byte by byte: what is answered must not depend on who reads it. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { startTestGateway, type TestGateway } from './testing.ts';

let gateway: TestGateway;
const sockets: Socket[] = [];

beforeAll(async () => {
  gateway = await startTestGateway({ limits: { requestsPerMinute: 100_000, bodyBytes: 300_000 } });
});

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

afterAll(async () => {
  await gateway.stop();
});

function open(): Socket {
  const { hostname, port } = new URL(gateway.url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => {});
  socket.setNoDelay(true);
  sockets.push(socket);
  return socket;
}

function bodyOf(more: object = {}): string {
  return JSON.stringify({
    model: 'tiny',
    messages: [{ role: 'user', content: 'Hello' }],
    max_tokens: 3,
    seed: 7,
    ...more,
  });
}

function post(body: string, ...headers: string[]): string {
  const own = [`Authorization: Bearer ${gateway.apiKey}`, 'Content-Type: application/json'];
  return raw('POST /v1/chat/completions', body, ...own, ...headers);
}

function raw(start: string, body: string, ...headers: string[]): string {
  const lines = [`${start} HTTP/1.1`, 'Host: gateway', ...headers, `Content-Length: ${Buffer.byteLength(body)}`];
  return `${lines.join('\r\n')}\r\n\r\n${body}`;
}

/** Ends a connection after its answer; Node reads it, as it is not plain. */
const last = 'Connection: close';

interface Answer {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/** The answers that came over one connection until it closed. */
function answersIn(bytes: string): Answer[] {
  const answers: Answer[] = [];
  for (let rest = bytes; rest !== ''; ) {
    const at = rest.indexOf('\r\n\r\n') + 4;
    const [start = '', ...lines] = rest.slice(0, at - 4).split('\r\n');
    const headers = new Map(
      lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 2)]),
    );
    const isChunked = headers.get('transfer-encoding') === 'chunked';
    const end = isChunked ? rest.indexOf('0\r\n\r\n', at) + 5 : at + Number(headers.get('content-length'));
    answers.push({ status: Number(start.split(' ')[1]), headers, body: rest.slice(at, end) });
    rest = rest.slice(end);
  }
  return answers;
}

/** Sends all at once, the last of them such that the connection ends. */
async function exchange(...requests: string[]): Promise<Answer[]> {
  const socket = open();
  socket.write(requests.join(''));
  return answersIn(await text(socket));
}

test('requests that are sent before the answers to those ahead of them are answered one after the other', async () => {
  const models = ['tiny', 'missing', 'tiny', 'missing'];
  const answers = await exchange(...models.map((model) => post(bodyOf({ model }))), post(bodyOf(), last));
  expect(answers.map(({ status }) => status)).toEqual([200, 404, 200, 404, 200]);
});

test('a connection that asks for something else in between is answered all the same', async () => {
  const answers = await exchange(
    post(bodyOf()),
    raw('GET /healthz', ''),
    post(bodyOf({ stream: true })),
    post('{', last),
  );
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 400]);
  expect(answers[2]?.body).toContain('data: [DONE]');
});

test('wherever a request is cut into pieces, it is answered', async () => {
  const bytes = Buffer.from(post(bodyOf({ messages: [{ role: 'user', content: 'é'.repeat(200) }] }), last));
  const plain = Buffer.from(post(bodyOf({ messages: [{ role: 'user', content: 'é'.repeat(200) }] })));
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(fc.nat(plain.length), { maxLength: 4 }), async (cuts) => {
      const socket = open();
      const all = Buffer.concat([plain, bytes]);
      const places = [0, ...cuts.sort((a, b) => a - b), all.length];
      const answered = text(socket);
      for (const [index, from] of places.slice(0, -1).entries()) {
        socket.write(all.subarray(from, places[index + 1]));
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      expect(answersIn(await answered).map(({ status }) => status)).toEqual([200, 200]);
    }),
    { numRuns: 40 },
  );
});

test.each<[string, () => string[]]>([
  ['a whole answer', () => [bodyOf()]],
  ['a stream', () => [bodyOf({ stream: true })]],
  ['a body that is no JSON', () => ['{']],
  ['an unknown model', () => [bodyOf({ model: 'missing' })]],
  ['an empty body', () => ['']],
  ['a key that nobody has', () => [bodyOf(), 'Authorization: Bearer nobody']],
  ['another type', () => [bodyOf(), 'Content-Type: text/plain']],
])('%s is the same whether its request is plain or left to Node', async (_, of) => {
  const [body = '', ...headers] = of();
  const start = 'POST /v1/chat/completions';
  const own =
    headers.length > 0 ? headers : [`Authorization: Bearer ${gateway.apiKey}`, 'Content-Type: application/json'];
  const plain = raw(start, body, ...own);
  const [here] = await exchange(plain, post('{', last));
  const [node] = await exchange(raw(start, body, ...own, last));
  expect(here?.status).toBe(node?.status);
  const names = (answer: Answer | undefined) =>
    [...(answer?.headers.keys() ?? [])]
      .filter((name) => !['keep-alive', 'content-length', 'transfer-encoding'].includes(name))
      .sort();
  expect(names(here)).toEqual(names(node));
  expect(here?.headers.get('content-type')).toBe(node?.headers.get('content-type'));
  if (here?.status !== 200) expect(here?.body).toContain(node?.headers.has('content-length') ? node.body : '"code"');
});

test('a body of several reads is taken whole, and one above the limit is refused', async () => {
  const long = (length: number, ...headers: string[]) =>
    post(bodyOf({ messages: [{ role: 'user', content: 'a '.repeat(length / 2) }] }), ...headers);
  const answers = await exchange(long(250_000), post('{', last));
  expect(answers[0]?.body).toMatch(/context_length_exceeded|choices/);
  const socket = open();
  socket.write(long(400_000, last));
  expect(await text(socket)).toMatch(/^HTTP\/1\.1 413 /);
});

test('a refusal reaches a caller who is still sending, and its connection ends', async () => {
  const socket = open();
  socket.write(raw('POST /v1/chat/completions', 'x'.repeat(100), 'Authorization: Bearer nobody').slice(0, -50));
  const answer = await text(socket);
  expect(answer).toMatch(/^HTTP\/1\.1 401 /);
  expect(answer).toContain('connection: close');
});

test('a refused body that still comes is dropped, and is no request', async () => {
  const socket = open();
  const answered = text(socket);
  const smuggled = raw('GET /healthz', '');
  const request = raw('POST /v1/chat/completions', smuggled, 'Authorization: Bearer nobody');
  socket.write(request.slice(0, -smuggled.length));
  await once(socket, 'readable');
  socket.write(smuggled);
  expect(answersIn(await answered)).toHaveLength(1);
});

test('a caller who does not read what it asked for is not read on', async () => {
  const socket = open();
  const request = post(bodyOf());
  let sent = 0;
  const more = () => {
    while (sent < 40_000 && socket.write(request)) sent++;
  };
  socket.on('drain', more);
  more();
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(sent).toBeLessThan(40_000);
  socket.destroy();
});
