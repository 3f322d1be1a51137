import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { expect, test } from 'vitest';
import { Heard, outboundFor, send, serve, serveTcp } from './outbound-testing.ts';

test('an answer is heard as sent, head, data, end, and its bytes are not decoded', async () => {
  const { url } = await serve((request: IncomingMessage, response: ServerResponse) => {
    const body: Buffer[] = [];
    request.on('data', (chunk) => body.push(chunk));
    request.on('end', () => response.end(`${request.method} ${request.url} ${Buffer.concat(body)}`));
  });
  const heard = new Heard();
  send(outboundFor(), `${url}/v1/x?y=1`, heard, { method: 'POST', body: 'héllo' });
  await heard.over;
  expect(heard.log).toEqual(['sent', 'head 200', 'data', 'end']);
  expect(heard.text).toBe('POST /v1/x?y=1 héllo');
});

test('a kept connection is used again, and calls at once have a connection each', async () => {
  const { url, sockets } = await serve((_, response) => setTimeout(() => response.end('ok'), 20));
  const created = outboundFor();
  for (let turn = 0; turn < 3; turn += 1) {
    const heard = new Heard();
    send(created, url, heard);
    await heard.over;
    await new Promise(setImmediate); // the connection is free once the turn of its last byte is over
  }
  expect(sockets.length).toBe(1);
  const together = Array.from({ length: 5 }, () => new Heard());
  for (const heard of together) send(created, url, heard);
  await Promise.all(together.map(({ over }) => over));
  expect(sockets.length).toBe(5);
});

test('an idle connection is given up before a server that closes after 5 s would', async () => {
  const { url, sockets } = await serve((_, response) => response.end('ok'));
  const heard = new Heard();
  send(outboundFor(), url, heard);
  await heard.over;
  const [socket] = sockets;
  if (socket === undefined) throw new Error('no connection');
  const first = await Promise.race([
    once(socket, 'close').then(() => 'client'),
    new Promise((resolve) => setTimeout(resolve, 5000, 'server')),
  ]);
  expect(first).toBe('client');
});

test('abort closes the connection, in mid-answer and before any connection exists', async () => {
  const closed: string[] = [];
  const { url } = await serve((request, response) => {
    response.write('begin');
    response.on('close', () => closed.push(request.url ?? ''));
  });
  const created = outboundFor();
  const running = new Heard();
  const call = send(created, `${url}/running`, running);
  running.onFirstData = () => call.abort(new Error('enough'));
  await running.over;
  expect(running.error?.message).toBe('enough');
  const early = new Heard();
  send(created, 'http://127.0.0.1:9/never', early).abort(new Error('changed my mind'));
  await early.over;
  expect(early.log).toEqual(['error']);
  await expect.poll(() => closed).toEqual(['/running']);
});

test('a connection reset before any byte, and one cut in mid-answer, are errors heard once', async () => {
  const url = await serveTcp((socket) => {
    socket.once('data', (data) => {
      if (data.includes('/cut')) socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n');
      setTimeout(() => socket.destroy(), 20);
    });
  });
  const created = outboundFor();
  for (const [path, log] of [
    ['/reset', ['sent', 'error']],
    ['/cut', ['sent', 'head 200', 'data', 'error']],
  ] as const) {
    const heard = new Heard();
    send(created, `${url}${path}`, heard);
    await heard.over;
    expect(heard.log).toEqual(log);
  }
});

test('a refused connection is an error and no request was sent', async () => {
  const { server, url } = await serve((_, response) => response.end());
  server.close();
  const heard = new Heard();
  send(outboundFor(), url, heard);
  await heard.over;
  expect(heard.log).toEqual(['error']);
});

test('a redirect is not followed', async () => {
  const { url } = await serve((_, response) => response.writeHead(307, { location: '/elsewhere' }).end());
  const heard = new Heard();
  send(outboundFor(), url, heard);
  await heard.over;
  expect(heard.log.filter((entry) => entry.startsWith('head'))).toEqual(['head 307']);
});

test('a paused answer stops coming until it is resumed', async () => {
  const { url } = await serve(async (_, response) => {
    for (let part = 0; part < 256; part += 1) {
      if (!response.write(Buffer.alloc(64 * 1024))) await once(response, 'drain');
    }
    response.end();
  });
  const heard = new Heard();
  const call = send(outboundFor(), url, heard);
  heard.onFirstData = () => call.pause();
  await expect.poll(() => heard.text.length).toBeGreaterThan(0);
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(heard.text.length).toBeLessThan(16 * 1024 * 1024);
  heard.onFirstData = () => {};
  call.resume();
  await heard.over;
  expect(heard.text.length).toBe(16 * 1024 * 1024);
});

test('without the development switch no connection is made to loopback, by address or by name', async () => {
  const { url, sockets } = await serve((_, response) => response.end());
  const created = outboundFor(false);
  for (const host of ['127.0.0.1', 'localhost']) {
    const heard = new Heard();
    send(created, url.replace('127.0.0.1', host), heard);
    await heard.over;
    expect(heard.error?.message).toMatch(/public address/);
  }
  expect(sockets.length).toBe(0);
});

test('close breaks off what runs', async () => {
  const { url } = await serve((_, response) => response.write('begin'));
  const created = outboundFor();
  const heard = new Heard();
  send(created, url, heard);
  await expect.poll(() => heard.text).toBe('begin');
  await created.close();
  await heard.over;
  expect(heard.log.at(-1)).toBe('error');
});
