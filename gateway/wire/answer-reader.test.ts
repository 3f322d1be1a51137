import { once } from 'node:events';
import { request as ask } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { buffer } from 'node:stream/consumers';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ANSWER_HEAD_BYTES_MAX, AnswerReader } from './answer-reader.ts';
import { WireError } from './wire-error.ts';

interface Heard {
  status: number;
  contentType: string;
  body: string;
  ended: boolean;
}

function listen(reader: AnswerReader): Heard {
  const heard: Heard = { status: 0, contentType: '', body: '', ended: false };
  reader.begin({
    onHead: (status, contentType) => Object.assign(heard, { status, contentType }),
    onBody: (bytes) => {
      heard.body += Buffer.from(bytes).toString('latin1');
    },
    onEnd: () => {
      heard.ended = true;
    },
  });
  return heard;
}

/** One answer, whole or in pieces. `closes`: the other side closes after it. */
function readAnswer(
  pieces: readonly Buffer[],
  closes = false,
  reader = new AnswerReader(),
): Heard & { keptMs: number } {
  const heard = listen(reader);
  for (const piece of pieces) reader.read(Buffer.from(piece));
  if (closes) reader.closed();
  return { ...heard, keptMs: reader.keptMs };
}

const text = (bytes: string) => [Buffer.from(bytes, 'latin1')];
const ok = 'HTTP/1.1 200 OK\r\n';

test('a counted answer, one in chunks, one without a body and one until the close are read, each with its end', () => {
  const read = (bytes: string, closes = false) => readAnswer(text(bytes), closes);
  expect(read(`${ok}Content-Type: a/b\r\nContent-Length: 3\r\n\r\nabc`)).toEqual({
    status: 200,
    contentType: 'a/b',
    body: 'abc',
    ended: true,
    keptMs: Number.POSITIVE_INFINITY,
  });
  const chunks = '3;name="a;b"\r\nabc\r\n0A \r\n0123456789\r\n0\r\nX-Trailer: x\r\n\r\n';
  expect(read(`${ok}Transfer-Encoding: Chunked\r\n\r\n${chunks}`)).toMatchObject({
    body: 'abc0123456789',
    ended: true,
    keptMs: Number.POSITIVE_INFINITY,
  });
  expect(read('HTTP/1.1 204\r\n\r\n')).toMatchObject({
    status: 204,
    body: '',
    ended: true,
    keptMs: Number.POSITIVE_INFINITY,
  });
  expect(read(`${ok}\r\nabc`, true)).toMatchObject({ body: 'abc', ended: true, keptMs: 0 });
  expect(
    read(`HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n${ok}content-length: 0\r\n\r\n`),
  ).toMatchObject({ status: 200, ended: true });
});

test.each<[string, string, number]>([
  ['HTTP/1.1 says nothing', `${ok}content-length: 0\r\n\r\n`, Number.POSITIVE_INFINITY],
  ['HTTP/1.1 says close', `${ok}connection: Close\r\ncontent-length: 0\r\n\r\n`, 0],
  ['HTTP/1.0 says nothing', 'HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n', 0],
  [
    'HTTP/1.0 says keep-alive',
    'HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n',
    Number.POSITIVE_INFINITY,
  ],
  ['it is kept for a while', `${ok}keep-alive: max=3, timeout=5\r\ncontent-length: 0\r\n\r\n`, 4_000],
  ['it is kept for a moment', `${ok}keep-alive: timeout=1\r\ncontent-length: 0\r\n\r\n`, 0],
  ['more follows than the answer', `${ok}content-length: 1\r\n\r\nab`, 0],
  ['more follows than the chunks', `${ok}transfer-encoding: chunked\r\n\r\n0\r\n\r\nx`, 0],
])('%s: the connection is good for another request, for so long or not at all: %#', (_, bytes, keptMs) => {
  expect(readAnswer(text(bytes))).toMatchObject({ ended: true, keptMs });
});

const chunked = `${ok}transfer-encoding: chunked\r\n\r\n`;

test.each<[string, string]>([
  ['another protocol', 'SSH-2.0-x\r\n\r\n'],
  ['another version', 'HTTP/2.0 200 OK\r\n\r\n'],
  ['a status of two digits', 'HTTP/1.1 20 OK\r\n\r\n'],
  ['a switch of protocols', 'HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n'],
  ['a folded line', `${ok}a: b\r\n c\r\n\r\n`],
  ['a bare LF', `${ok}a: b\nc: d\r\n\r\n`],
  ['a space before a colon', `${ok}content-length : 1\r\n\r\n`],
  ['two different lengths', `${ok}content-length: 1\r\ncontent-length: 2\r\n\r\n`],
  ['a negative length', `${ok}content-length: -1\r\n\r\n`],
  ['a length and chunks', `${ok}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n`],
  ['a coding with a tab after it', `${ok}transfer-encoding: chunked\t\r\n\r\n0\r\n\r\n`],
  ['an unknown coding', `${ok}transfer-encoding: gzip, chunked\r\n\r\n`],
  ['a chunk without a size', `${chunked}\r\n`],
  ['a chunk of an unknown size', `${chunked}xyz\r\n`],
  ['a size without an end', `${chunked}${'0'.repeat(13)}`],
  ['a chunk that is longer than it says', `${chunked}1\r\nab\r\n`],
  ['a size that ends in LF', `${chunked}1\na\r\n`],
  ['an extension that ends in LF', `${chunked}1;a\na\r\n`],
  ['endless extensions', `${chunked}1;${'a'.repeat(20_000)}`],
  ['endless trailers', `${chunked}0\r\n${'a: b\r\n'.repeat(5_000)}`],
  ['an endless head', `${ok}${'a: b\r\n'.repeat(ANSWER_HEAD_BYTES_MAX / 6)}`],
])('%s is an error', (_, bytes) => {
  expect(() => readAnswer(text(bytes))).toThrow(WireError);
});

test('a close in mid-answer is an error, and so are bytes that nobody asked for', () => {
  for (const bytes of ['', 'HTTP/1.1 200', `${ok}content-length: 2\r\n\r\na`, `${chunked}1\r\na\r\n`])
    expect(() => readAnswer(text(bytes), true)).toThrow(WireError);
  const reader = new AnswerReader();
  expect(() => reader.read(Buffer.from(`${ok}content-length: 0\r\n\r\n`))).toThrow(WireError);
});

/** An answer, its body in a framing of its own, with something after it or not. */
const answer = fc
  .record({
    parts: fc.array(fc.string({ minLength: 1, maxLength: 40, unit: fc.constantFrom('a', '\r', '\n', '0', ':') }), {
      maxLength: 6,
    }),
    framing: fc.constantFrom('counted', 'chunked'),
    extension: fc.constantFrom('', ';x', ';x="y"'),
    trailer: fc.constantFrom('', 'x-checked: yes\r\n'),
    informs: fc.boolean(),
  })
  .map(({ parts, framing, extension, trailer, informs }) => {
    const body = parts.join('');
    const chunks = parts.map((part) => `${part.length.toString(16)}${extension}\r\n${part}\r\n`).join('');
    const lines = framing === 'counted' ? `Content-Length: ${body.length}` : 'Transfer-Encoding: chunked';
    const framed = framing === 'counted' ? body : `${chunks}0\r\n${trailer}\r\n`;
    return {
      body,
      bytes: Buffer.from(`${informs ? 'HTTP/1.1 103 Hints\r\n\r\n' : ''}${ok}X-A: b\r\n${lines}\r\n\r\n${framed}`),
    };
  });

function cutAt(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return places
    .slice(1)
    .map((to, index) => bytes.subarray(places[index], to))
    .filter(({ length }) => length > 0);
}

test('wherever an answer is cut, it reads the same, and the next one on the connection does too', () => {
  fc.assert(
    fc.property(
      fc.array(answer, { minLength: 1, maxLength: 3 }),
      fc.array(fc.nat(), { maxLength: 12 }),
      (answers, cuts) => {
        const reader = new AnswerReader();
        for (const { body, bytes } of answers) {
          const heard = listen(reader);
          for (const piece of cutAt(bytes, cuts)) reader.read(Buffer.from(piece));
          expect(heard).toMatchObject({ status: 200, body, ended: true });
          expect(reader).toMatchObject({ keptMs: Number.POSITIVE_INFINITY, idle: true });
        }
      },
    ),
    { numRuns: 2_000 },
  );
});

const worker = createServer();
let hostile: Buffer = Buffer.alloc(0);

beforeAll(async () => {
  worker.on('connection', (socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end(hostile));
  });
  worker.listen(0, '127.0.0.1');
  await once(worker, 'listening');
});

afterAll(() => {
  worker.close();
});

/** What node:http makes of the same bytes followed by a close: null where it refuses them. */
function readByNode(bytes: Buffer): Promise<{ status: number | undefined; body: string } | null> {
  hostile = bytes;
  return new Promise((resolve) => {
    const sent = ask({ port: (worker.address() as AddressInfo).port, method: 'POST', agent: false });
    sent.on('error', () => resolve(null));
    sent.on('response', (response) => {
      buffer(response).then(
        (body) => resolve({ status: response.statusCode, body: body.toString('latin1') }),
        () => resolve(null),
      );
    });
    sent.end('{}');
  });
}

/** An answer with bytes taken out and others put in. */
const changedAnswer = fc
  .tuple(
    answer,
    fc.nat(),
    fc.nat(2),
    fc.constantFrom('\r', '\n', ' ', ':', ';', '0', '1', 'f', '-', '\t', '\0', 'chunked', '\r\n'),
  )
  .map(([{ bytes }, place, out, put]) => {
    const at = place % bytes.length;
    return { bytes, changed: Buffer.concat([bytes.subarray(0, at), Buffer.from(put), bytes.subarray(at + out)]) };
  });

test('of answers with bytes changed, taken out or put in, whatever is accepted Node reads in the same way', async () => {
  let accepted = 0;
  await fc.assert(
    fc.asyncProperty(changedAnswer, async ({ changed }) => {
      let read: Heard;
      try {
        read = readAnswer([changed], true);
      } catch {
        return;
      }
      accepted++;
      const same = await readByNode(changed);
      if (same !== null) expect(same).toEqual({ status: read.status, body: read.body });
    }),
    { numRuns: 1_500 },
  );
  expect(accepted).toBeGreaterThan(100);
});

test('an answer that repeats the last one of its connection but for some characters is read as if it were the first', () => {
  const outcomeOf = (bytes: Buffer, reader: AnswerReader) => {
    try {
      return readAnswer([Buffer.from(bytes)], true, reader);
    } catch (error) {
      return String(error);
    }
  };
  fc.assert(
    fc.property(changedAnswer, ({ bytes, changed }) => {
      const reader = new AnswerReader();
      readAnswer([Buffer.from(bytes)], false, reader);
      expect(outcomeOf(changed, reader)).toEqual(outcomeOf(changed, new AnswerReader()));
    }),
    { numRuns: 3_000 },
  );
});
