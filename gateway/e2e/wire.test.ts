/** Requests as no good client writes them, byte by byte: what two hops could read in two ways is refused, what never ends is cut. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestGateway, type TestGateway } from '../testing.ts';

let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startTestGateway({ limits: { headMs: 500, bodyMs: 500 } });
});

afterAll(async () => {
  await gateway.stop();
});

const body = '{"model":"tiny","messages":[{"role":"user","content":"Hello"}],"max_tokens":2}';

/** The head of a good request with `headers` in place of its own length. */
function request(...headers: string[]): string {
  const lines = [
    'POST /v1/chat/completions HTTP/1.1',
    'Host: gateway',
    `Authorization: Bearer ${gateway.apiKey}`,
    'Content-Type: application/json',
    ...headers,
  ];
  return `${lines.join('\r\n')}\r\n\r\n`;
}

/** Sends these bytes and answers all that comes back until the gateway closes. */
async function exchange(bytes: string): Promise<string> {
  const { hostname, port } = new URL(gateway.url);
  const socket = connect(Number(port), hostname);
  socket.write(bytes);
  socket.on('error', () => {});
  return text(socket);
}

test('a good request of this form is answered', async () => {
  const answer = await exchange(request(`Content-Length: ${body.length}`, 'Connection: close') + body);
  expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
});

const chunked = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;

test.each<[string, () => string]>([
  ['a length and chunks', () => request(`Content-Length: ${body.length}`, 'Transfer-Encoding: chunked') + chunked],
  ['chunks and a length', () => request('Transfer-Encoding: chunked', 'Content-Length: 4') + chunked],
  ['two lengths', () => request(`Content-Length: ${body.length}`, 'Content-Length: 4') + body],
  ['a length that is no number', () => request('Content-Length: +77') + body],
  ['a space before a colon', () => request(`Content-Length : ${body.length}`) + body],
  ['lines that end without a return', () => request(`Content-Length: ${body.length}`).replaceAll('\r\n', '\n') + body],
  ['a header that is folded', () => request('X-Folded: one', ' two', `Content-Length: ${body.length}`) + body],
  ['chunks that are not the last coding', () => request('Transfer-Encoding: chunked, identity') + chunked],
  ['a coding that nobody knows', () => request('Transfer-Encoding: xchunked') + chunked],
  ['two keys', () => request(`Content-Length: ${body.length}`, 'Authorization: Bearer x', 'Connection: close') + body],
])('%s: refused, and nothing is charged', async (_name, write) => {
  const before = await gateway.agent('GET', '/account');
  expect(await exchange(write())).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
  expect(await gateway.agent('GET', '/account')).toEqual(before);
});

test.each<[string, () => string]>([
  ['a head that does not end', () => request().slice(0, -2)],
  ['a body that does not end', () => request(`Content-Length: ${body.length + 1}`, 'Connection: close') + body],
])('%s is cut off with 408', async (_name, write) => {
  expect(await exchange(write())).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n/);
});

test('a caller who sends nothing at all is let go', async () => {
  const { hostname, port } = new URL(gateway.url);
  const socket = connect(Number(port), hostname);
  await once(socket, 'connect');
  socket.resume();
  await once(socket, 'close');
});
