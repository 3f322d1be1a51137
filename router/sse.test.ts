import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Frame, FrameSplitter, MAX_FRAME_BYTES, MalformedStream } from './sse.ts';

const encode = (text: string) => new TextEncoder().encode(text);

function split(reads: readonly Uint8Array[]): Frame[] {
  const splitter = new FrameSplitter();
  return reads.flatMap((read) => splitter.push(read));
}

/** Cuts bytes at the given places. */
function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const at = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...at].map((start, index) => bytes.slice(start, at[index] ?? bytes.length));
}

const stream = [
  ': keep-alive\n\n',
  'data: {"text":"Grüße 👋 日本"}\n\n',
  'data:{"no":"space"}\r\n\r\n',
  'event: message\r\ndata: one\r\ndata: two\r\nid: 7\r\n\r\n',
  '\n',
  ': a comment\ndata: after it\n\n',
  'retry: 100\n\n',
  'data: [DONE]\n\n',
];
const data = [null, '{"text":"Grüße 👋 日本"}', '{"no":"space"}', 'one\ntwo', null, 'after it', null, '[DONE]'];

test('frames carry every byte as received, whatever the sizes of the reads', () => {
  const bytes = encode(stream.join(''));
  fc.assert(
    fc.property(fc.array(fc.nat(10_000), { maxLength: 40 }), (places) => {
      const frames = split(cut(bytes, places));
      expect(frames.map(({ text }) => text)).toEqual(stream);
      expect(frames.map((frame) => frame.data)).toEqual(data);
    }),
  );
});

test('reads of one byte each give the same frames', () => {
  const frames = split([...encode(stream.join(''))].map((byte) => Uint8Array.of(byte)));
  expect(frames.map((frame) => frame.data)).toEqual(data);
});

test('an unfinished frame is not given out', () => {
  expect(split([encode('data: {"a":1}\n')])).toEqual([]);
  expect(split([encode('data: {"a":1}\n'), encode('\n')])).toHaveLength(1);
});

test('a frame of 1 MB in small reads comes whole', () => {
  const text = `data: "${'x'.repeat(1_000_000)}"\n\n`;
  const frames = split(
    cut(
      encode(text),
      Array.from({ length: 500 }, (_, index) => index * 2000),
    ),
  );
  expect(frames.map((frame) => frame.text.length)).toEqual([text.length]);
});

test('an event that never ends is refused at the limit', () => {
  const splitter = new FrameSplitter();
  const read = new Uint8Array(64 * 1024).fill(120);
  expect(() => {
    for (let sent = 0; sent <= MAX_FRAME_BYTES; sent += read.length) splitter.push(read);
  }).toThrow(MalformedStream);
});

test('what other readers might cut differently is refused: bytes that are not UTF-8, a lone carriage return', () => {
  expect(() => split([Uint8Array.from([...encode('data: '), 0xff, 10, 10])])).toThrow(MalformedStream);
  expect(() => split([encode(': hidden\rdata: {"x":1}\n\n')])).toThrow(MalformedStream);
});
