/**
 * A new call id: a UUIDv7 (RFC 9562, section 5.7), the time in front and 74 random bits behind. Those are taken from the runtime's
 * own version 4, which draws its randomness ahead; drawing it for each id is what such a library's function costs most.
 */
export function newCallId(): string {
  const ms = Date.now().toString(16).padStart(12, '0');
  const random = crypto.randomUUID();
  return `${ms.slice(0, 8)}-${ms.slice(8)}-7${random.slice(15)}`;
}
