/**
 * A new call id: a UUIDv7 (RFC 9562, section 5.7), the time in front and 74 random bits behind. Those are taken from the runtime's
 * own version 4, which draws its randomness ahead; drawing it for each id is what such a library's function costs most.
 */
export function newCallId(): string {
  const nowMs = Date.now();
  if (nowMs !== stamp.ms) {
    const hex = nowMs.toString(16).padStart(12, '0');
    stamp = { ms: nowMs, text: `${hex.slice(0, 8)}-${hex.slice(8)}-7` };
  }
  return stamp.text + crypto.randomUUID().slice(15);
}

/** The time of the ids of one millisecond. */
let stamp = { ms: 0, text: '' };
