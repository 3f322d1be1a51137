/**
 * A worker that answers at once: the same answers to everybody, on a bare socket. It stands for vLLM where only what lies
 * between caller and worker is measured; the simulator is what behaves like one. Usage: fast-worker.ts [port]
 */
import { Buffer } from 'node:buffer';
import { createServer, type Socket } from 'node:net';
import { models, PACE_MS, streamFrames, wholeAnswer } from './answers.ts';
import { announce } from './child.ts';
import { MessageReader } from './http.ts';

const STREAM_HEAD = Buffer.from(
  'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n',
);
const LAST_CHUNK = Buffer.from('0\r\n\r\n');

interface Answers {
  readonly whole: Buffer;
  readonly stream: readonly Buffer[];
  readonly continuous: readonly Buffer[];
}

const answers = new Map(Object.values(models).map((model) => [model as string, prepare(model)]));

function prepare(model: string): Answers {
  const body = wholeAnswer(model);
  const head = `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`;
  return {
    whole: Buffer.concat([Buffer.from(head), body]),
    stream: streamFrames(model, { continuous: false }).map(chunk),
    continuous: streamFrames(model, { continuous: true }).map(chunk),
  };
}

function chunk(frame: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${frame.length.toString(16)}\r\n`), frame, Buffer.from('\r\n')]);
}

function serve(socket: Socket): void {
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  let parts: Buffer[] = [];
  const reader = new MessageReader({
    onHead: () => {
      parts = [];
    },
    onBody: (bytes) => parts.push(bytes),
    onEnd: () => answer(socket, parts.length === 1 ? (parts[0] ?? Buffer.alloc(0)) : Buffer.concat(parts)),
  });
  socket.on('data', (read: Buffer) => reader.push(read));
}

function answer(socket: Socket, body: Buffer): void {
  const name = /"model": ?"([^"]*)"/.exec(body.toString('latin1', 0, 64))?.[1] ?? modelAnywhere(body);
  const prepared = answers.get(name);
  if (prepared === undefined) {
    socket.write('HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n');
  } else if (!asks(body, 'stream')) {
    socket.write(prepared.whole);
  } else {
    const frames = asks(body, 'continuous_usage_stats') ? prepared.continuous : prepared.stream;
    socket.write(STREAM_HEAD);
    if (name === models.paced) writePaced(socket, frames, 0);
    else writeOneByOne(socket, frames, 0);
  }
}

function modelAnywhere(body: Buffer): string {
  return [...answers.keys()].find((model) => has(body, 'model', `"${model}"`)) ?? '';
}

function asks(body: Buffer, field: string): boolean {
  return has(body, field, 'true');
}

/** As JavaScript writes it or, with its blank, Python. */
function has(body: Buffer, field: string, value: string): boolean {
  return body.includes(`"${field}":${value}`) || body.includes(`"${field}": ${value}`);
}

/** One write per turn of the event loop: no pause, and yet every frame on its own way. */
function writeOneByOne(socket: Socket, frames: readonly Buffer[], at: number): void {
  if (socket.destroyed) return;
  const frame = frames[at];
  socket.write(frame ?? LAST_CHUNK);
  if (frame !== undefined) setImmediate(() => writeOneByOne(socket, frames, at + 1));
}

function writePaced(socket: Socket, frames: readonly Buffer[], at: number): void {
  if (socket.destroyed) return;
  const frame = frames[at];
  if (frame === undefined) return;
  socket.write(frame);
  if (at + 1 < frames.length) setTimeout(() => writePaced(socket, frames, at + 1), PACE_MS);
  // At once, as engines do: who goes by the stream's own end would need another connection meanwhile.
  else socket.write(LAST_CHUNK);
}

const server = createServer(serve);
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => announce(server));
