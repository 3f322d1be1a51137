/** Bytes as they are written: text of one byte a character is one string, written at once, where buffers would be gathered. */
import type { Socket } from 'node:net';

/** Bodies up to this length leave in one piece with their head; a longer one is not copied for that. */
export const TEXT_BYTES_MAX = 16_384;

export const LAST_CHUNK = '0\r\n\r\n';

/** Each character of the result is a byte: to be written as 'latin1'. `bytes` is the body's length, for those who know it. */
export function byteText(body: Uint8Array | string, bytes = Buffer.byteLength(body)): string {
  if (typeof body === 'string') return bytes === body.length ? body : Buffer.from(body).toString('latin1');
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('latin1');
}

/** RFC 9112, §7.1. An empty one would end the answer. */
export function chunkOf(text: string): string {
  return text === '' ? '' : `${text.length.toString(16)}\r\n${text}\r\n`;
}

/** Writes a head, text of one byte a character, and its whole body of so many bytes. */
export function writeWhole(socket: Socket, head: string, body: Uint8Array | string, bytes: number): void {
  if (body.length <= TEXT_BYTES_MAX) {
    socket.write(head + byteText(body, bytes), 'latin1');
  } else {
    socket.cork();
    socket.write(head, 'latin1');
    socket.write(body);
    socket.uncork();
  }
}

/** The pieces as one; a single one is not copied. */
export function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const [only] = pieces;
  return only !== undefined && pieces.length === 1 ? only : Buffer.concat(pieces);
}
