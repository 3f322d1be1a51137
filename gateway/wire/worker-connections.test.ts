/** Connections to workers, good ones and others, through the outbound port. */
import { expect, test } from 'vitest';
import { targetOf } from '../../router/outbound.ts';
import { Heard, hear, outboundFor, send, serve, serveTcp } from '../outbound-testing.ts';

/** A worker that answers each request with these bytes; returns its URL and what it heard on each connection. */
async function serveBytes(answer: string): Promise<{ url: string; heard: string[] }> {
  const heard: string[] = [];
  const url = await serveTcp((socket) => {
    const index = heard.push('') - 1;
    socket.on('data', (bytes) => {
      heard[index] += bytes.toString('latin1');
      socket.write(answer);
    });
  });
  return { heard, url };
}

const empty = 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n';

test.each<[string, string, number]>([
  ['answers and no more', empty, 1],
  ['says that it closes', empty.replace('\r\n\r\n', '\r\nconnection: close\r\n\r\n'), 2],
  ['sends more than its answer', `${empty}${empty}`, 2],
  ['speaks HTTP/1.0', empty.replace('1.1', '1.0'), 2],
])(
  'after a worker that %s, the next call is sent over the same connection or another',
  async (_, answer, connections) => {
    const { url, heard } = await serveBytes(answer);
    const created = outboundFor();
    for (let turn = 0; turn < 2; turn++) expect((await hear(created, url)).log).toEqual(['sent', 'head 200', 'end']);
    expect(heard.length).toBe(connections);
  },
);

test('what a worker sends without being asked is no answer to the next call', async () => {
  let connections = 0;
  const url = await serveTcp((socket) => {
    connections++;
    socket.once('data', () => {
      socket.write(empty);
      setTimeout(() => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfake'), 10);
    });
  });
  const created = outboundFor();
  await hear(created, url);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect((await hear(created, url)).text).toBe('');
  expect(connections).toBe(2);
});

test('a header that could end its line early is an error, nothing is sent, and the connection stays good', async () => {
  const { url, heard } = await serveBytes(empty);
  const created = outboundFor();
  await hear(created, url);
  for (const headers of [{ authorization: 'Bearer a\r\nx: y' }, { a: 'b\0' }]) {
    expect((await hear(created, url, { headers })).log.at(-1)).toBe('error');
    expect((await hear(created, url, { target: targetOf(url, headers) })).log.at(-1)).toBe('error');
  }
  await hear(created, url);
  expect(heard.map((text) => text.split('\r\n\r\n').length)).toEqual([3]);
});

test.each(['', 'a', 'é'.repeat(20_000), Buffer.alloc(200, 0xe9), Buffer.alloc(200_000, 0xe9)])(
  'a body is sent as it is, with its length in bytes: %#',
  async (body) => {
    const { url } = await serve(async (request, response) => {
      const parts: Buffer[] = [];
      for await (const part of request) parts.push(part);
      response.end(`${request.headers['content-length']} ${Buffer.concat(parts).equals(Buffer.from(body))}`);
    });
    const heard = await hear(outboundFor(), url, { method: 'POST', body });
    expect(heard.text).toBe(`${Buffer.byteLength(body)} true`);
  },
);

test('an answer that is no HTTP is an error, and its connection is closed', async () => {
  const { url } = await serveBytes('SSH-2.0-OpenSSH_9.6\r\n\r\n');
  expect((await hear(outboundFor(), url)).log).toEqual(['sent', 'error']);
});

test('a call that gives up while it waits for its connection leaves it to the next one', async () => {
  const { url, sockets } = await serve((_, response) => response.end('ok'));
  const created = outboundFor();
  const early = new Heard();
  send(created, url, early).abort(new Error('changed my mind'));
  await early.over;
  await expect.poll(() => sockets.length).toBe(1);
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect((await hear(created, url)).text).toBe('ok');
  expect(sockets.length).toBe(1);
});
