import { createHmac, type KeyObject } from 'node:crypto';
import { crc32 } from 'node:zlib';

/*
 * A key is `fg_<kind>_`, 30 random characters (178 bits) and 6 characters of checksum over all that stands before them, in base 62. The
 * prefix says whose key it is, the checksum tells a typing error or a stranger's string from a key without asking anyone, and
 * both make leaked keys findable by this pattern.
 */

/** `live` and `test` for agents, `op` for operators, `adm` for the host. */
export type KeyKind = 'live' | 'test' | 'op' | 'adm';

/** The published form of every key, for secret scanners. */
export const keyPattern = /^fg_(live|test|op|adm)_[0-9A-Za-z]{36}$/;

const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const RANDOM_LENGTH = 30;
const CHECKSUM_LENGTH = 6;
const HINT_LENGTH = 4;

/** Bytes from here on are thrown away: 248 = 4 * 62 leaves every digit equally likely. */
const UNBIASED_BYTES = 248;

/** A new key. `randomBytes` must be cryptographically strong; it may be asked more than once. */
export function mintKey(kind: KeyKind, randomBytes: (size: number) => Uint8Array): string {
  let random = '';
  while (random.length < RANDOM_LENGTH) {
    for (const byte of randomBytes(RANDOM_LENGTH - random.length)) {
      if (byte < UNBIASED_BYTES) random += DIGITS.charAt(byte % DIGITS.length);
    }
  }
  const body = `fg_${kind}_${random}`;
  return body + checksum(body);
}

/** Whose kind of key a text is, by form and checksum alone, or null. Whether the key exists is another question. */
export function parseKey(text: string): { kind: KeyKind } | null {
  const kind = keyPattern.exec(text)?.[1];
  if (kind === undefined) return null;
  const body = text.slice(0, -CHECKSUM_LENGTH);
  return text.endsWith(checksum(body)) ? { kind: kind as KeyKind } : null;
}

/**
 * What is stored in place of a key: HMAC-SHA-256 under the host's pepper, hex. A key is random, so no slow hash is needed. A pepper
 * made ready once by `createSecretKey` is ten times as fast as a text, which is made ready each time.
 */
export function keyHash(pepper: string | KeyObject, key: string): string {
  return createHmac('sha256', pepper).update(key).digest('hex');
}

/** What may be shown of a key: `fg_live_…a1b2`. */
export function keyHint(key: string): string {
  return `${key.slice(0, key.lastIndexOf('_') + 1)}…${key.slice(-HINT_LENGTH)}`;
}

function checksum(body: string): string {
  let rest = crc32(body);
  let digits = '';
  for (let place = 0; place < CHECKSUM_LENGTH; place++) {
    digits = DIGITS.charAt(rest % DIGITS.length) + digits;
    rest = Math.floor(rest / DIGITS.length);
  }
  return digits;
}
