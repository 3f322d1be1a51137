import { expect, test } from 'vitest';
import { createdAtMs } from '../payments/calls.ts';
import { newCallId } from './call-id.ts';

test('a call id is a UUIDv7 that tells when it was made, and no two are alike', () => {
  const before = Date.now();
  const ids = Array.from({ length: 1_000 }, newCallId);
  for (const id of ids) {
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(createdAtMs(id)).toBeGreaterThanOrEqual(before);
    expect(createdAtMs(id)).toBeLessThanOrEqual(Date.now());
  }
  expect(new Set(ids).size).toBe(ids.length);
});
