/** Bytes as they are written: text of one byte a character is one string, written at once, where buffers would be gathered. */

/** Bodies up to this length leave as text in one piece with their head; a longer one is not copied for that. */
export const TEXT_BYTES_MAX = 16_384;

export const LAST_CHUNK = '0\r\n\r\n';

/** Each character of the result is a byte: to be written as 'latin1'. */
export function byteText(bytes: Uint8Array | string): string {
  if (typeof bytes === 'string') return Buffer.from(bytes).toString('latin1');
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

/** RFC 9112, §7.1. An empty one would end the answer. */
export function chunkOf(text: string): string {
  return text === '' ? '' : `${text.length.toString(16)}\r\n${text}\r\n`;
}
