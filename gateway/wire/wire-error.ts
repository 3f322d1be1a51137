/** What came is no HTTP/1.1. */
export class WireError extends Error {
  override readonly name = 'WireError';
}
