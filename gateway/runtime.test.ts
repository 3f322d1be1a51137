import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

/** An import or re-export of values, with where it comes from. Type imports leave nothing at run time. */
const VALUE_IMPORT = /^(?:import|export)\s+(?!type\b)[^;]*?from\s+'([^']+)'/gms;

/** What every file reached from `entry` by value imports asks of packages and of the runtime, by the file's address. */
async function reached(entry: URL, found = new Map<string, string[]>()): Promise<Map<string, string[]>> {
  if (found.has(entry.href)) return found;
  const source = await readFile(fileURLToPath(entry), 'utf8');
  const from = [...source.matchAll(VALUE_IMPORT)].map((match) => match[1] ?? '');
  found.set(entry.href, from);
  for (const path of from.filter((name) => name.startsWith('.'))) await reached(new URL(path, entry), found);
  return found;
}

test('the story of a call, and all that it reaches, asks nothing of Node but buffers, timers and a checksum, which Workers have too', async () => {
  const files = await reached(new URL('completions.ts', import.meta.url));
  expect(files.size).toBeGreaterThan(20);
  const foreign = [...files.values()].flat().filter((name) => !name.startsWith('.'));
  expect(new Set(foreign)).toEqual(new Set(['node:buffer', 'node:timers/promises', 'node:zlib']));
  for (const file of files.keys())
    expect(await readFile(fileURLToPath(file), 'utf8'), file).not.toMatch(/\b(process|setImmediate|require)[.(]/);
});
