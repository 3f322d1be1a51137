import { Buffer } from 'node:buffer';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MessageReader } from './http.ts';

const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n';
const whole = 'HTTP/1.1 201 Created\r\nContent-Length: 3\r\n\r\nyes';
const empty = 'HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n';

/** What a reader tells of these reads. */
function told(reads: readonly Buffer[]): string[] {
  const messages: string[] = [];
  let message = '';
  const reader = new MessageReader({
    onHead: (head) => {
      message = `${head.slice(9, 12)} `;
    },
    onBody: (bytes) => {
      message += bytes.toString();
    },
    onEnd: () => messages.push(message),
  });
  for (const read of reads) reader.push(read);
  return messages;
}

test('messages are read alike, however their bytes come', () => {
  const bytes = Buffer.from(chunked + whole + empty + whole);
  fc.assert(
    fc.property(fc.array(fc.nat(bytes.length)), (cuts) => {
      const places = [0, ...cuts.toSorted((a, b) => a - b), bytes.length];
      const reads = places.slice(1).map((end, index) => bytes.subarray(places[index], end));
      expect(told(reads)).toEqual(['200 hello world', '201 yes', '404 ', '201 yes']);
    }),
  );
});

test('a reader that was stopped tells nothing more of the read that it was stopped in', () => {
  for (const first of [chunked, whole]) {
    let ends = 0;
    const reader: MessageReader = new MessageReader({
      onHead: () => {},
      onBody: () => reader.stop(),
      onEnd: () => ends++,
    });
    reader.push(Buffer.from(first + whole));
    expect(ends).toBe(0);
  }
});
