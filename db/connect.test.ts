import { type AddressInfo, createServer, connect as dial } from 'node:net';
import { expect, inject, test } from 'vitest';
import { connect } from './connect.ts';
import { watchedSockets } from './watched-socket.ts';

/** A way to the tests' Postgres whose answers can be swallowed, with nothing closed: what a network does that drops packets. */
async function deafWay() {
  const target = new URL(inject('postgresUrl'));
  const way = { deaf: false };
  const server = createServer((client) => {
    const upstream = dial(Number(target.port), target.hostname);
    client.on('data', (bytes) => upstream.write(bytes));
    upstream.on('data', (bytes) => {
      if (!way.deaf) client.write(bytes);
    });
    for (const socket of [client, upstream]) socket.on('error', () => {});
    client.on('close', () => upstream.destroy());
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as AddressInfo;
  return Object.assign(way, {
    url: Object.assign(new URL(target), { port: String(port) }).href,
    close: () => server.close(),
  });
}

test('a connection that swallows what is sent is given up, and the pool answers again', async () => {
  const way = await deafWay();
  const { sql, close } = connect(way.url, { max: 1, socket: watchedSockets(1_000) });
  await sql`select 1`;
  way.deaf = true;
  await expect(sql`select 1`).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' });
  way.deaf = false;
  expect(await sql`select 1 as one`).toEqual([{ one: 1 }]);
  // Silence that nobody waits through is none.
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  expect(await sql`select 1 as one`).toEqual([{ one: 1 }]);
  await close();
  way.close();
});

test('of several hosts the next has its turn when one cannot be reached', async () => {
  const { hostname, port, username, password, pathname } = new URL(inject('postgresUrl'));
  const url = `postgres://${username}:${password}@${hostname}:1,${hostname}:${port}${pathname}`;
  const { sql, close } = connect(url, { max: 1, socket: watchedSockets(1_000) });
  expect(await sql`select 1 as one`).toEqual([{ one: 1 }]);
  await close();
});
