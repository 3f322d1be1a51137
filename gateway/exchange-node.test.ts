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
