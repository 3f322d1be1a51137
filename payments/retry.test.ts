import { DrizzleQueryError } from 'drizzle-orm/errors';
import { expect, test } from 'vitest';
import { isTransient } from './retry.ts';

test('an error is transient by its code, also when the ORM has wrapped it', () => {
  const cut = Object.assign(new Error('cut'), { code: 'CONNECTION_CLOSED' });
  expect(isTransient(cut)).toBe(true);
  expect(isTransient(new DrizzleQueryError('select 1', [], cut))).toBe(true);
  expect(isTransient(new DrizzleQueryError('select 1', [], new Error('syntax')))).toBe(false);
  expect(isTransient('cut')).toBe(false);
});
