import { expect } from 'vitest';
import type { Mismatch } from './compare.ts';
import { matches, readDifferences } from './recordings.ts';

const differences = readDifferences();

/** What differs must be listed in DIFFERENCES.md, and what is listed there must differ. */
export function expectListed(name: string, mismatches: readonly Mismatch[]): void {
  const listed = differences.filter((difference) => matches(difference, name)).map(({ what }) => what);
  if (listed.includes('all')) {
    expect(mismatches, 'listed as different, but it is as recorded').not.toEqual([]);
    return;
  }
  expect(mismatches.filter(({ what }) => !listed.includes(what))).toEqual([]);
  const found = mismatches.map(({ what }) => what);
  expect(listed.filter((what) => !found.some((word) => word === what), 'listed, but not different')).toEqual([]);
}
