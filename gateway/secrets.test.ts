import { expect, test } from 'vitest';
import { testDatabase } from '../db/testing.ts';
import { loadSecrets } from './secrets.ts';

test('gateways that start together agree on the secrets, and later starts find the same', async () => {
  await using database = await testDatabase();
  const loads = await Promise.all(Array.from({ length: 10 }, () => loadSecrets(database.sql)));
  const [first] = loads;
  expect(first?.pepper).toMatch(/^[0-9a-f]{64}$/);
  expect(first?.pepper).not.toBe(first?.cacheSalt);
  for (const load of [...loads, await loadSecrets(database.sql)]) expect(load).toEqual(first);
});
