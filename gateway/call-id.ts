import { Buffer } from 'node:buffer';

/**
 * A new call id: a UUIDv7 (RFC 9562, section 5.7), the time in front and 74 random bits behind. Those are drawn for many ids at once: drawing
 * them for each is what such a library's function costs most.
 */
export function newCallId(): string {
  const nowMs = Date.now();
  if (nowMs !== stamp.ms) {
    const hex = nowMs.toString(16).padStart(12, '0');
    stamp = { ms: nowMs, text: `${hex.slice(0, 8)}-${hex.slice(8)}-7` };
  }
  if (used === pool.length) {
    crypto.getRandomValues(pool);
    used = 0;
  }
  const hex = pool.toString('hex', used, used + HEX_BYTES);
  const variant = VARIANTS.charAt((pool[used + HEX_BYTES] ?? 0) & 3);
  used += HEX_BYTES + 1;
  return `${stamp.text}${hex.slice(0, 3)}-${variant}${hex.slice(3, 6)}-${hex.slice(6)}`;
}

/** The time of the ids of one millisecond. */
let stamp = { ms: 0, text: '' };

/** Of one id: 18 digits, and a byte for the two bits beside the variant's. */
const HEX_BYTES = 9;
const VARIANTS = '89ab';
const pool = Buffer.alloc(1_000 * (HEX_BYTES + 1));
let used = pool.length;
