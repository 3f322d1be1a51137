import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { expect, test } from 'vitest';
import { limits } from './config.ts';
import { CallerLeft } from './exchange.ts';
import { NodeExchange } from './exchange-node.ts';

test('the body of a caller who left before it was asked for is refused at once', async () => {
  const server = createServer();
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const caller = connect((server.address() as AddressInfo).port, '127.0.0.1');
  caller.write('POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{');
  const [request, response] = await once(server, 'request');
  const exchange = new NodeExchange(request, response, limits);
  caller.destroy();
  await once(response, 'close');
  await expect(exchange.body()).rejects.toBeInstanceOf(CallerLeft);
  server.close();
});

test.each([
  ['at once', true],
  ['in pieces', false],
])(
  'a body that comes %s is read whole, and one above the limit is refused without its length being told',
  async (_, atOnce) => {
    const server = createServer();
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    const send = async (text: string) => {
      const caller = connect((server.address() as AddressInfo).port, '127.0.0.1');
      const head = 'POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n';
      const body = `${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`;
      const came = once(server, 'request');
      caller.write(atOnce ? head + body : head);
      const [request, response] = await came;
      if (!atOnce) setTimeout(() => caller.write(body), 20);
      const asked = new NodeExchange(request, response, { ...limits, bodyBytes: 64 }).body();
      return asked.then(
        (bytes) => Buffer.from(bytes).toString(),
        (error: { code: string }) => error.code,
      );
    };
    expect(await send('{"model":"tiny"}')).toBe('{"model":"tiny"}');
    expect(await send('x'.repeat(65))).toBe('body_too_large');
    server.closeAllConnections();
    server.close();
  },
);
