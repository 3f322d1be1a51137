import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { buffer } from 'node:stream/consumers';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type PlainRequest, PlainRequestReader } from './plain-request.ts';

const server = createServer();

beforeAll(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const readPlainRequest = (bytes: Buffer) => new PlainRequestReader().read(bytes);

const good = ['Host: gateway', 'Content-Type: application/json', 'Content-Length: 2'];

function bytesOf(lines: readonly string[], start = 'POST /v1/chat/completions HTTP/1.1', end = '\r\n'): Buffer {
  return Buffer.from(`${[start, ...lines].join(end)}${end}${end}{}`, 'latin1');
}

test('a plain request is read: path, headers by lower-case name, where its body begins and how long it is', () => {
  const bytes = bytesOf([
    'HOST: gateway',
    'x-Two:   two words  ',
    'X-None:',
    'content-length: 2',
    'Connection: Keep-Alive',
  ]);
  const request = readPlainRequest(bytes);
  expect(request).toMatchObject({ path: '/v1/chat/completions', bodyBytes: 2, bodyAt: bytes.length - 2 });
  expect([...(request?.headers ?? [])]).toEqual([
    ['host', 'gateway'],
    ['x-two', 'two words'],
    ['x-none', ''],
    ['connection', 'Keep-Alive'],
  ]);
});

test.each<[string, Buffer]>([
  ['another method', bytesOf(good, 'GET /v1/models HTTP/1.1')],
  ['another version', bytesOf(good, 'POST /v1/chat/completions HTTP/1.0')],
  ['a query', bytesOf(good, 'POST /v1/chat/completions?x=1 HTTP/1.1')],
  ['a whole URL', bytesOf(good, 'POST http://gateway/v1/chat/completions HTTP/1.1')],
  ['an empty line before it', Buffer.concat([Buffer.from('\r\n'), bytesOf(good)])],
  ['a head that has not come whole', bytesOf(good).subarray(0, -3)],
  ['lines that end in LF', bytesOf(good, undefined, '\n')],
  ['a line that is folded', bytesOf([...good, 'X-Folded: one', ' two'])],
  ['a bare CR in a value', bytesOf([...good, 'X-Bare: a\rb'])],
  ['a NUL in a value', bytesOf([...good, 'X-Nul: a\0b'])],
  ['a space before a colon', bytesOf([...good, 'X-Space : a'])],
  ['a tab', bytesOf([...good, 'X-Tab: a\t'])],
  ['a header without a name', bytesOf([...good, ': a'])],
  ['a header twice', bytesOf([...good, 'content-type: text/plain'])],
  ['two lengths', bytesOf([...good, 'Content-Length: 2'])],
  ['a signed length', bytesOf(['Host: a', 'Content-Length: +2'])],
  ['a list of lengths', bytesOf(['Host: a', 'Content-Length: 2, 2'])],
  ['a length in hex', bytesOf(['Host: a', 'Content-Length: 0x2'])],
  ['no length', bytesOf(['Host: a'])],
  ['a coding', bytesOf([...good, 'Transfer-Encoding: chunked'])],
  ['an expectation', bytesOf([...good, 'Expect: 100-continue'])],
  ['an upgrade', bytesOf([...good, 'Upgrade: h2c', 'Connection: Upgrade'])],
  ['an origin', bytesOf([...good, 'Origin: https://elsewhere'])],
  ['no host', bytesOf(good.slice(1))],
  ['an empty host', bytesOf(['Host:', 'Content-Length: 2'])],
  ['a connection that is to close', bytesOf([...good, 'Connection: close'])],
  ['a head that is too long', bytesOf([...good, `X-Long: ${'a'.repeat(16_384)}`])],
])('%s is not plain', (_, bytes) => {
  expect(readPlainRequest(bytes)).toBeNull();
});

/** What node:http makes of the same bytes: null where it refuses them. */
async function readByNode(bytes: Buffer): Promise<{ request: IncomingMessage; body: string } | null> {
  const caller = connect((server.address() as AddressInfo).port, '127.0.0.1');
  try {
    return await new Promise((resolve) => {
      server.removeAllListeners('request');
      server.on('request', async (request) => resolve({ request, body: (await buffer(request)).toString('latin1') }));
      caller.on('data', () => resolve(null));
      caller.write(bytes);
    });
  } finally {
    caller.destroy();
  }
}

/** Lines as good clients write them, and as nobody should. */
const line = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.constantFrom(
      'Accept: */*',
      'User-Agent: a/1 (b; c)',
      'X-Empty:',
      'x-high: \xe9\xff',
      'Authorization: Bearer k',
    ),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.string({ maxLength: 6 }), fc.constantFrom(':', ': ', ' :', ''), fc.string({ maxLength: 6 }))
      .map((parts) => parts.join('')),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      'Transfer-Encoding: chunked',
      'Content-Length: 3',
      'Connection: keep-alive',
      'TE: trailers',
      '\tfolded',
      'X-Tab:\ta\t',
      'a: b\rc: d',
      'a: b\nc: d',
    ),
  },
);

test('whatever is taken for plain, Node reads in the same way', async () => {
  let plain = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(line, { maxLength: 5 }), fc.nat(8), async (lines, length) => {
      const head = `POST /v1/completions HTTP/1.1\r\nHost: gateway\r\n${lines.map((text) => `${text}\r\n`).join('')}`;
      const bytes = Buffer.from(`${head}Content-Length: ${length}\r\n\r\n${'x'.repeat(length)}`, 'latin1');
      const request: PlainRequest | null = readPlainRequest(bytes);
      if (request === null) return;
      plain++;
      const same = await readByNode(bytes);
      expect(same?.request.method).toBe('POST');
      expect(same?.request.url).toBe(request.path);
      const { 'content-length': told, ...headers } = same?.request.headers ?? {};
      expect(headers).toEqual(Object.fromEntries(request.headers));
      expect(Number(told)).toBe(request.bodyBytes);
      // An empty line among them ends the head early: what follows is body then, for both.
      expect(same?.body).toBe(bytes.toString('latin1', request.bodyAt, request.bodyAt + request.bodyBytes));
    }),
    { numRuns: 600 },
  );
  expect(plain).toBeGreaterThan(50);
});

test('a request that repeats the last one of its connection but for some characters is read as if it were the first', () => {
  const first = bytesOf([...good, 'X-A: 12', 'Content-Type2: b']);
  const other = fc.oneof(
    fc.constant(''),
    fc.constantFrom('0', '12', ' ', '\r', '\n', '\r\n', ':', 'content-length: 1\r\n', '\r\n\r\n', '\t'),
    fc.string({ unit: 'binary', maxLength: 2 }),
  );
  let repeated = 0;
  fc.assert(
    fc.property(fc.nat(first.length), fc.nat(2), other, (at, removed, added) => {
      const text = first.toString('latin1');
      const changed = Buffer.from(text.slice(0, at) + added + text.slice(at + removed), 'latin1');
      const reader = new PlainRequestReader();
      const before = reader.read(first);
      const after = reader.read(changed);
      expect(after).toEqual(readPlainRequest(changed));
      if (after !== null && after.headers === before?.headers) repeated++;
    }),
    { numRuns: 5_000 },
  );
  expect(repeated).toBeGreaterThan(5);
});
